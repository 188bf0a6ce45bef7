"""A new home in a repository: rows, models and the database are nothing for Git."""

from __future__ import annotations

from pathlib import Path

from flyball_tests_repositories import git

from flyball.core.settings import read_settings
from flyball.operations.opening import open_backends


def _open(home: Path) -> None:
    open_backends(read_settings(home.parent, {"FLYBALL_HOME": str(home)})).close()


def test_adding_all_files_of_a_repository_takes_nothing_of_a_new_home(tmp_path: Path):
    git(tmp_path, "init", "--quiet", ".")
    _open(tmp_path / ".flyball")
    (tmp_path / "train.py").write_text("")
    git(tmp_path, "add", "--all")
    assert (tmp_path / ".flyball" / "flyball.db").exists()
    assert git(tmp_path, "status", "--porcelain") == "A  train.py"


def test_a_home_that_is_there_keeps_what_people_made_of_it(tmp_path: Path):
    home = tmp_path / ".flyball"
    home.mkdir()
    _open(home)
    assert not (home / ".gitignore").exists()
