"""A change that is no longer held to what its base asks of a model is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flyball.operations.ci.base import taken_away
from flyball.pipelines.project_file import read_project

TOML = """
[model]
name = "line"
task = "regression"
target = "y"
[data]
source = "rows.csv"
[train]
entry = "train:train"
"""
GATE = '[[gates]]\nmetric = "mae"\nmax = {bound}\n'
TEST = '[[tests]]\nkind = "direction"\nfeature = "x"\neffect = "not lower"\n'


def _file(folder: Path, more: str) -> Any:
    folder.mkdir()
    (folder / "flyball.toml").write_text(TOML + more)
    return read_project(folder)


def test_gates_and_tests_that_are_gone_or_loosened_are_named_and_new_ones_are_not(tmp_path: Path):
    base = _file(tmp_path / "base", GATE.format(bound=1.0) + TEST)
    more = _file(tmp_path / "more", GATE.format(bound=1.0) + GATE.format(bound=0.5) + TEST)
    less = _file(tmp_path / "less", GATE.format(bound=9.0))
    assert taken_away(base, base) == taken_away(base, more) == []
    assert taken_away(base, less) == [
        "the change takes away or alters gates of its base, and is judged without them: mae",
        "the change takes away or alters model tests of its base, and is judged without them: direction",
    ]
