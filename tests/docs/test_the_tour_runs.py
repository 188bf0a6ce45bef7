from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
blocks = sys.modules["flyball_tests_console_blocks"]
RUN = (ROOT / "README.md", ROOT / "docs" / "how-to" / "after-the-first-prediction.md")
# Stand for themselves, so each has a reader of its own.
ALONE = (
    ROOT / "docs" / "how-to" / "ci.md",
    ROOT / "docs" / "how-to" / "test-a-model.md",
    ROOT / "docs" / "how-to" / "environments.md",
    ROOT / "docs" / "how-to" / "deploy-by-files.md",
    ROOT / "docs" / "how-to" / "other-orchestrators.md",
)


@pytest.mark.parametrize("document", RUN, ids=lambda path: path.stem)
def test_each_line_of_a_document_runs_where_the_one_before_left_off(reader: Any, document: Path):
    lines = blocks.console_lines(document)
    assert len(lines) >= 9
    said = {line: reader.type(line) for line in lines}
    if document.stem == "README":
        runs = [text for line, text in said.items() if line == "flyball run"]
        assert "nothing was trained" in runs[0]  # of two equal lines, the second one's output is kept
        predicted = next(text for line, text in said.items() if "predict" in line)
        assert "shop@1 (champion)" in predicted
        assert "score of no" in predicted and "score of yes" in predicted
    else:
        assert "identical" in said["flyball replay $PREDICTION"]
        assert "5 outcomes accepted" in said["flyball outcomes add shop outcomes.csv"]
        assert "the chain holds" in said["flyball audit verify"]
        asked = {line: json.loads(text) for line, text in said.items() if line.startswith("curl") and text}
        outcome = next(answer for line, answer in asked.items() if "/outcomes" in line)
        assert outcome["accepted"] == 1
        assert next(answer for line, answer in asked.items() if "/v2/" in line)["classes"] == ["no", "yes"]


@pytest.mark.long
def test_each_line_about_checking_changes_runs(lone_reader: Any):
    lines = blocks.console_lines(ALONE[0])
    said = [lone_reader.type(line) for line in lines]
    told = {line: text for line, text in zip(lines, said, strict=True) if "flyball ci affected" in line}
    assert all("shop" in text and "flyball.toml changed" in text for text in told.values()) and len(told) == 2
    made = {line: text for line, text in zip(lines, said, strict=True) if "flyball ci init" in line}
    assert [text.count("flyball-merge.yml") for text in made.values()] == [1, 1]
    others = {**told, **made}
    checks = [
        text for line, text in zip(lines, said, strict=True) if "flyball ci" in line and line not in others
    ]
    assert len(checks) == 4 and all("shop: pass" in text for text in checks)
    assert "the model was trained" in checks[1] and "compared with main" in checks[1]
    assert "nothing was trained" in checks[2] and "nothing was trained" in checks[3]
    assert {"report.md", "report.html", "report.json"} <= set(said[lines.index("ls out")].split())


def test_each_line_about_testing_a_model_runs(lone_reader: Any):
    said = [lone_reader.type(line) for line in blocks.console_lines(ALONE[1])]
    # A project that was just written is in no Git and was never run.
    assert said[-1].startswith("shop: ML Test Score 0 ") and said[-1].count("for more:") >= 20


@pytest.mark.long
def test_each_line_about_environments_runs(lone_reader: Any):
    lines = blocks.console_lines(ROOT / "docs" / "how-to" / "environments.md")
    said = dict(zip(lines, [lone_reader.type(line) for line in lines], strict=True))
    first, second = [text for line, text in said.items() if "deploy" in line][:2]
    assert "shop@1 of this home is shop@1 of staging" in first and "is champion" in first
    assert "shop@1 of staging is shop@1 of production" in second
    assert "the chain holds" in said["flyball audit verify --env production"]
    assert "complaints" in said["flyball history shop --env staging"]


@pytest.mark.long
def test_each_line_about_deploying_by_files_runs(lone_reader: Any):
    lines = blocks.console_lines(ROOT / "docs" / "how-to" / "deploy-by-files.md")
    said = [lone_reader.type(line) for line in lines]
    changes = [text for line, text in zip(lines, said, strict=True) if re.match("flyball (plan|apply)", line)]
    kinds = [re.findall(r"^[^:]* staging/shop: (\w+(?: back)?)", text)[0] for text in changes]
    assert kinds == ["first", "first", "deploy", "roll back", "nothing", "deploy", "held", "deploy"]
    assert "`rollback --why complaints`" in changes[6]
    assert ["no retraining has given a candidate" in text for text in said[-2:]] == [True, True]


@pytest.mark.long
def test_each_line_beside_another_scheduler_runs(lone_reader: Any):
    lines = blocks.console_lines(ROOT / "docs" / "how-to" / "other-orchestrators.md")
    said = [lone_reader.type(line) for line in lines]
    runs = [text for line, text in zip(lines, said, strict=True) if line.startswith("flyball run")]
    assert runs[0] == runs[1] and "shop@1 registered" in runs[0]
    assert "not enough rows" in said[-5] and "exit code 4" in said[-5]
    assert "refused by its gates" in said[-4] and re.search(r"exit code [14]$", said[-4])
    assert 'schedules = "external"' in said[-3]
    assert said[-2] == said[-1] and "predictions.parquet" in said[-1]


def test_every_document_with_commands_is_run():
    documents = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "ARCHITECTURE.md",
        *ROOT.glob("docs/**/*.md"),
    ]
    assert {path for path in documents if blocks.console_lines(path)} == {*RUN, *ALONE}
    shells = [
        path for path in documents if re.search(r"^```(sh|bash|shell)\b", path.read_text(), re.MULTILINE)
    ]
    assert shells == [], "commands belong into `console` blocks, which are run"


def test_what_is_not_run_is_covered_otherwise():
    skipped = [
        line
        for path in (*RUN, *ALONE)
        for line in blocks.console_lines(path)
        if line.startswith(tuple(blocks.COVERED_OTHERWISE))
    ]
    assert skipped == ["pip install '.[standard,boost]'"]
    extras = (ROOT / "pyproject.toml").read_text()
    assert 'dev = [\n    "flyball[standard,boost]"' in extras  # what `make test` installs and runs under


def test_every_make_line_of_a_document_is_a_target():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = re.findall(r"(?:^    |`)make ([a-z-]+)", path.read_text(), re.MULTILINE)
        assert named and set(named) <= targets, path
