"""Which version a score is about: the champion, else the newest that was not refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyball.operations.rubric.facts import read_facts
from flyball.operations.rubric.scoring import score_facts
from flyball.pipelines.project_file import ProjectFile, read_project

PROJECT = """
[model]
name = "bikes"
task = "regression"
target = "cnt"
[data]
source = "bikes.parquet"
[train]
entry = "train:train"
"""


@pytest.fixture
def file(tmp_path: Path) -> ProjectFile:
    (tmp_path / "flyball.toml").write_text(PROJECT)
    return read_project(tmp_path)


def test_without_a_champion_the_newest_version_that_was_not_refused_is_judged(
    quick_loop_home: Any, file: ProjectFile
):
    home = quick_loop_home
    assert read_facts(home.database, file).version is None
    home.register(state="refused")
    facts = read_facts(home.database, file)
    assert facts.version is None
    assert score_facts(facts).judged == "no version, for none was accepted yet"
    home.register()
    home.register(state="refused")
    score = score_facts(read_facts(home.database, file))
    assert (score.version, score.judged) == (
        "bikes@2",
        "bikes@2, the newest accepted version; none is champion",
    )


def test_a_champion_is_judged_whatever_came_after_it(quick_loop_home: Any, file: ProjectFile):
    home = quick_loop_home
    home.deploy(home.register())
    home.register()
    assert score_facts(read_facts(home.database, file)).judged == "bikes@1, the champion"
