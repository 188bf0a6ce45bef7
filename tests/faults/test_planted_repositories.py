"""What git would run because files of a change say so is not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import commit_all, git

from flyball.core.errors import BadInput
from flyball.operations.ci.affected import affected_models
from flyball.operations.ci.git import extract, read_git
from flyball.pipelines import git_run
from flyball.pipelines.source_tree import collect_tree, read_git_state


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A clone of a repository in which a folder with a project is made up as a repository that watches its files."""
    line, ran = tmp_path / "repository" / "models" / "line", tmp_path / "ran"
    line.mkdir(parents=True)
    (line / "flyball.toml").write_text('[model]\nname = "line"\n')
    git(tmp_path / "repository", "init", "--quiet", "--initial-branch=main", ".")
    models = line.parent
    for name in ("objects/kept", "refs/kept"):
        (models / name).parent.mkdir()
        (models / name).write_text("")
    (models / "HEAD").write_text("ref: refs/heads/main\n")
    (models / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
        f'\tworktree = {tmp_path / "clone" / "models"}\n\tfsmonitor = "touch {ran}; false"\n'
    )
    commit_all(tmp_path / "repository")
    git(tmp_path, "clone", "--quiet", "repository", "clone")
    return tmp_path / "clone" / "models" / "line"


CALLS: list[Callable[[Path], Any]] = [
    lambda folder: read_git(folder, None, {}),
    lambda folder: affected_models(folder, None, {}),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("is_old_git", [False, True])
def test_a_folder_made_up_as_a_repository_is_refused_and_its_program_not_run(
    planted: Path, call: Callable[[Path], Any], is_old_git: bool, monkeypatch: pytest.MonkeyPatch
):
    if is_old_git:  # one that does not know `safe.bareRepository`
        monkeypatch.setenv("PATH", _without_setting(planted.parents[2]))
    with pytest.raises(BadInput, match="git takes it for a repository of its own"):
        call(planted)
    assert not (planted.parents[2] / "ran").exists()


def _without_setting(folder: Path) -> str:
    """A PATH whose git leaves that setting out."""
    script = folder / "bin" / "git"
    script.parent.mkdir()
    left = 'args=("${@/safe.bareRepository=explicit/safe.other=1}")'
    script.write_text(f'#!/bin/bash\n{left}\nexec {shutil.which("git")} "${{args[@]}}"\n')
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def test_git_itself_is_told_to_take_no_such_folder(planted: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(git_run, "find_planted", lambda folder: None)
    assert git_run.git(planted, "status", "--porcelain") is None
    assert not (planted.parents[2] / "ran").exists()


def test_its_files_are_source_without_git(planted: Path):
    assert [file.path for file in collect_tree(planted).files] == ["flyball.toml"]
    assert read_git_state(planted) is None and not (planted.parents[2] / "ran").exists()


def test_a_repository_with_a_folder_called_head_in_it_is_read_as_ever(tmp_path: Path):
    git(tmp_path, "init", "--quiet", "--initial-branch=main", ".")
    for name in ("HEAD", "objects/a", "line/flyball.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    commit = commit_all(tmp_path)
    assert read_git(tmp_path / "line", None, {}).commit == commit


@pytest.mark.parametrize(("cache", "fetched"), [("read", False), ("read-write", True)])
def test_git_lfs_fetches_nothing_for_a_stranger_who_may_have_named_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, fetched: bool
):
    user, folder = tmp_path / "user", tmp_path / "repository"
    user.mkdir()
    folder.mkdir()
    # Git LFS leaves a pointer as it is where this variable is 1; this stands for it.
    (user / ".gitconfig").write_text(
        f'[filter "lfs"]\n\tclean = cat\n\tsmudge = "test $GIT_LFS_SKIP_SMUDGE || touch {tmp_path / "fetched"}; cat"\n'
    )
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    (folder / ".gitattributes").write_text("*.csv filter=lfs\n")
    (folder / "rows.csv").write_text("x,y\n1,2\n")
    commit_all(folder)
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("FLYBALL_CACHE", cache)
    (tmp_path / "base").mkdir()
    extract(read_git(folder, "main", {}), tmp_path / "base")
    assert (tmp_path / "base" / "rows.csv").exists() and (tmp_path / "fetched").exists() == fetched
