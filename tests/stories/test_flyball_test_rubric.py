"""`flyball test --rubric`: nothing is run, and the score is what a person would count from files and home."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MORE = """
[contract.features.x]
type = "float"
min = -1000
max = 1000
[[gates]]
metric = "mae"
max = 9
[[tests]]
kind = "baseline"
[[tests]]
kind = "borders"
[rubric]
data-2 = "docs/features.md#gain"
data-6 = "docs/none.md"
"""
WORKFLOW = "on: [pull_request]\njobs:\n  model:\n    steps:\n      - run: flyball ci --post\n"
OWN_TEST = "from train import Line\n\n\ndef test_a_line_answers():\n    assert Line(1, 2)\n"


def _points(score: dict[str, Any]) -> dict[str, float]:
    return {item["id"]: item["points"] for section in score["sections"] for item in section["items"]}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))


def test_a_project_that_was_never_run_scores_nothing_and_reads_what_to_write(
    home: None, make_project: Callable[..., Path], command: Callable[..., Any]
):
    folder = make_project()
    said = command("test", "--rubric", cwd=folder)
    assert said.code == 0 and said.out.startswith("line: ML Test Score 0 (more of a research project")
    assert "judged by what is known of no version, for none was accepted yet" in said.out
    assert 'kind = "parity"' in said.out and "Breck, Cai, Nielsen, Salib, Sculley (2017)" in said.out
    score = command("test", "--rubric", "--json", cwd=folder).json()
    assert score["score"] == 0.0 and set(_points(score).values()) == {0.0}
    assert command("versions", "line", cwd=folder).code != 0  # nothing was run


def test_a_project_with_gates_tests_and_a_workflow_scores_what_a_person_counts(
    home: None, make_project: Callable[..., Path], command: Callable[..., Any]
):
    folder = make_project(more=MORE)
    for name, text in {
        "docs/features.md": "What each feature gains.\n",
        ".github/workflows/model.yml": WORKFLOW,
        "tests/test_line.py": OWN_TEST,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for arguments in (["init", "--quiet", "."], ["add", "--all"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, timeout=60)
    assert command("run", cwd=folder).code == 0

    score = command("test", "--rubric", "--json", cwd=folder).json()
    assert {item: points for item, points in _points(score).items() if points} == {
        "data-1": 0.5,  # a rule for x, none for c
        "data-2": 0.5,  # documented
        "data-7": 1.0,  # a test leads to train.py, and a workflow runs it
        "model-1": 0.5,  # in Git
        "model-4": 0.5,  # measured on later rows
        "model-5": 1.0,  # better than the baseline
        "model-6": 0.5,  # measured by c
        "infrastructure-1": 0.5,  # recorded, not shown
        "infrastructure-2": 1.0,  # as data-7
        "infrastructure-3": 1.0,  # a workflow runs it all
        "infrastructure-4": 1.0,  # a gate
        "monitoring-1": 0.5,  # the report names packages
        "monitoring-2": 0.5,  # rules, nobody watches
        "monitoring-5": 1.0,  # answers at the borders
        "monitoring-6": 0.5,  # measured
    }
    assert [section["points"] for section in score["sections"]] == [2.0, 2.5, 3.5, 2.5]
    assert score["score"] == 2.0
    assert score["judged"] == "line@1, the newest accepted version; none is champion"
    facts = {item["id"]: item["fact"] for section in score["sections"] for item in section["items"]}
    lines = (folder / "flyball.toml").read_text().splitlines()
    assert facts["model-5"].startswith(f"flyball.toml:{lines.index('[[tests]]') + 1}: pass for line@1 (evd_")
    assert facts["infrastructure-3"].startswith(".github/workflows/model.yml:5:")
    assert "docs/none.md, which is not in the repository" in facts["data-6"]


def test_a_test_of_the_rubric_that_there_is_not_is_told_with_the_nearest(
    home: None, make_project: Callable[..., Path], command: Callable[..., Any]
):
    said = command("test", "--rubric", cwd=make_project(more='[rubric]\nmonitor-3 = "docs/x.md"\n'))
    assert (
        said.code == 2 and "rubric.monitor-3 is no test of the rubric; did you mean monitoring-3?" in said.err
    )
