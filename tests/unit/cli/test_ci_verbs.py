"""`flyball ci` is a check of a folder and the name of its verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_first_word_that_is_a_verb_is_that_verb_and_a_folder_of_its_name_is_reached_by_its_path(
    command: Callable[..., Any], tmp_path: Path
):
    (tmp_path / "post").mkdir()
    assert "Missing argument" in command("ci", "post", cwd=tmp_path).err
    said = command("ci", "./post", cwd=tmp_path)
    assert said.code == 2 and "flyball.toml" in said.err


def test_options_may_stand_before_and_after_the_folder(command: Callable[..., Any], tmp_path: Path):
    for words in (["--report", "report.doc", "."], [".", "--report", "report.doc"]):
        said = command("ci", *words, cwd=tmp_path)
        assert said.code == 2 and "the ending says the form" in said.err


def test_a_second_folder_is_wrong_use_and_help_lists_the_verbs(command: Callable[..., Any], tmp_path: Path):
    said = command("ci", ".", "elsewhere", cwd=tmp_path)
    assert said.code == 2 and "elsewhere" in said.err
    helped = command("ci", "--help")
    assert helped.code == 0 and "--report" in helped.out and "\n  post " in helped.out
    assert "Usage: flyball ci post " in command("ci", "post", "--help").out
