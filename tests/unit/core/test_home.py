"""Where the home is, and whose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyball.core.errors import BadInput
from flyball.core.home import find_distant_home, find_home


@pytest.fixture
def stray(tmp_path: Path) -> Path:
    """A home that somebody left in a folder above all projects."""
    home = tmp_path / ".flyball"
    home.mkdir()
    return home


def make(folder: Path, *names: str) -> Path:
    for name in names:
        place = folder / name
        if name.endswith(".toml"):
            folder.mkdir(parents=True, exist_ok=True)
            place.write_text("")
        else:
            place.mkdir(parents=True)
    return folder


def test_the_environment_names_the_home_first(tmp_path: Path, stray: Path):
    assert find_home(tmp_path, {"FLYBALL_HOME": str(tmp_path / "other")}) == tmp_path / "other"
    assert find_distant_home(tmp_path, {"FLYBALL_HOME": str(tmp_path / "other")}) is None


def test_in_a_repository_it_is_the_nearest_home_up_to_the_git_root_and_else_there(
    tmp_path: Path, stray: Path
):
    root = make(tmp_path / "repository", ".git", "a/b", "models")
    assert find_home(root / "models", {}) == root / ".flyball"
    make(root / "a", ".flyball")
    assert find_home(root / "a" / "b", {}) == root / "a" / ".flyball"
    assert find_home(root, {}) == root / ".flyball"


def test_outside_of_a_repository_no_home_above_the_project_is_taken(tmp_path: Path, stray: Path):
    project = make(tmp_path / "x" / "y", "flyball.toml", "deep")
    assert find_home(project / "deep", {}) == find_home(project, {}) == project / ".flyball"
    make(project / "deep", ".flyball")
    assert find_home(project / "deep", {}) == project / "deep" / ".flyball"


def test_without_project_and_repository_the_nearest_home_counts(tmp_path: Path, stray: Path):
    folder = make(tmp_path, "looking/around") / "looking" / "around"
    assert find_home(folder, {}) == stray


def test_a_home_that_is_not_where_one_looks_is_told(tmp_path: Path, stray: Path):
    root = make(tmp_path / "repository", ".git", "one/data")
    project = make(root / "one", "flyball.toml")
    assert find_distant_home(project, {}) is None
    make(project, ".flyball")
    assert find_distant_home(project / "data", {}) is None
    make(project / "data", ".flyball")
    assert find_distant_home(project / "data", {}) == project / "data" / ".flyball"
    assert find_distant_home(make(tmp_path / "elsewhere", "in") / "in", {}) == stray
    assert find_distant_home(tmp_path, {}) is None


def test_a_home_that_everybody_may_write_to_is_refused_unless_it_is_named(tmp_path: Path, stray: Path):
    stray.chmod(0o777)
    with pytest.raises(BadInput, match=r"written to by everybody.*FLYBALL_HOME"):
        find_home(tmp_path, {})
    assert find_home(tmp_path, {"FLYBALL_HOME": str(stray)}) == stray


@pytest.mark.skipif(os.getuid() != 0, reason="only the administrator can give a folder away")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_home_of_another_user_is_refused(tmp_path: Path, through_a_link: bool):
    home = tmp_path / ".flyball"
    if through_a_link:
        (tmp_path / "real").mkdir()
        home.symlink_to(tmp_path / "real")
        os.chown(home, 12345, 12345, follow_symlinks=False)
    else:
        home.mkdir()
        os.chown(home, 12345, 12345)
    with pytest.raises(BadInput, match="belongs to another user") as caught:
        find_home(tmp_path, {})
    assert str(home) in caught.value.message
