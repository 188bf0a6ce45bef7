"""What [log] drops or hashes is in no form of a report, in no comment and in no evidence; what a gate asks for is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_repositories import commit_all, git

from flyball.operations.ci.markdown import write_comment
from flyball.operations.ci.report import CiReport

# Each value of a hidden column can be told from everything else in a report.
MORE = """
[data.split]
by = "random"
[log]
drop = ["ward"]
hash = ["name", "income"]
[[gates]]
metric = "mae"
max = 9
"""
TESTS = """
[[tests]]
kind = "direction"
name = "upside down"
feature = "x"
effect = "not higher"
[[tests]]
kind = "invariance"
feature = "ward"
max_change = 0.0001
"""
TRAIN = """
import json
from pathlib import Path


class Line:
    def __init__(self, slope):
        self.slope = slope

    def predict(self, rows):
        return [
            self.slope * x + len(ward) % 2 for x, ward in zip(rows["x"].to_list(), rows["ward"].to_list())
        ]

    def save(self, folder):
        (Path(folder) / "line.json").write_text(json.dumps(self.slope))

    @classmethod
    def load(cls, folder):
        return cls(json.loads((Path(folder) / "line.json").read_text()))


def train(X, y):
    return Line(2.0)
"""
MODEL_TESTS = """
def test_that_quotes_a_row(rows):
    raise AssertionError(f"look at {rows.row(0)} and {rows.row(1)}")
"""


def _rows() -> str:
    lines = ["at,x,ward,name,income,y"]
    for row in range(200):
        ward = ("plantednorth", "plantedsouthern")[row % 2]
        lines.append(
            f"2025-01-{1 + row // 24:02d}T{row % 24:02d}:00:00Z,{row % 17 / 2},{ward},plantedname{row},"
            f"{77_700_000 + row},{row % 17 + row % 5}"
        )
    return "\n".join(lines) + "\n"


def test_values_of_columns_that_the_log_hides_are_in_no_form_of_a_report_and_in_no_evidence(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    folder = make_project(train=TRAIN, rows=_rows(), more=MORE)
    settings = folder / "flyball.toml"
    settings.write_text(settings.read_text().replace('frames = "numpy"', 'frames = "polars"'))
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    commit_all(folder)
    git(folder, "checkout", "--quiet", "-b", "change")
    (folder / "train.py").write_text(TRAIN.replace("Line(2.0)", "Line(1.5)"))
    settings.write_text(settings.read_text() + TESTS)
    (folder / "model_tests.py").write_text(MODEL_TESTS)
    commit_all(folder)

    out = tmp_path / "out"
    said = command("ci", "--json", "--report", str(out), cwd=folder)
    assert said.code == 1, said.err
    report = said.json()

    changed = report["changed_predictions"]
    assert len(changed) == 10, report
    assert {one["row"]["name"] for one in changed} == {"(not shown)"}
    failed = {test["name"]: test for test in report["tests"]}
    assert failed["upside down"]["rows"][0]["row"]["income"] == "(not shown)"
    assert failed["invariance ward"]["rows"][0]["changed"] == {"ward": ["(not shown)", "(not shown)"]}
    assert failed["test_that_quotes_a_row"]["because"].count("(not shown)") == 6
    assert {line["slice"] for line in report["metrics"]} == {None}

    evidence = command("show", "line@1", "--json", cwd=folder).json()["evidence"]
    tested = [kept for kept in evidence if kept["kind"] == "tests"]
    assert tested[0]["facts"]["tests"][0]["rows"], evidence
    forms = {path.name: path.read_text() for path in out.rglob("*") if path.is_file()}
    assert {"report.md", "report.html", "report.json", "junit.xml", "report.sarif"} <= set(forms)
    assert max(len(text.encode()) for text in forms.values()) < 200_000
    forms |= {"comment": write_comment(msgspec.convert(report, CiReport)), "evidence": json.dumps(evidence)}
    for name, text in forms.items():
        assert str(tmp_path) not in text, name
    for name, text in {**forms, "printed": said.err + said.out}.items():
        for planted in ("plantednorth", "plantedsouth", "plantedname", "777000"):
            assert planted not in text, (name, planted)
