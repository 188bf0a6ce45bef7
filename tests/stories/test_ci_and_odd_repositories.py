"""`flyball ci` where the repository is not what it should be: said in clear words, with nothing half registered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import commit_all, git
from flyball_tests_runs import LINE, TOML, make_rows

from flyball.core.errors import BadInput
from flyball.operations.ci.affected import affected_models
from flyball.operations.ci.git import extract, read_git
from flyball.pipelines.source_tree import collect_tree

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 9000\n"


def _write_project(folder: Path, name: str = "line", train: str = LINE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flyball.toml").write_text(TOML.format(name=name, more=""))
    (folder / "train.py").write_text(train)
    (folder / "rows.csv").write_text(make_rows())
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, at a path as people have them, with a home beside it."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "Modelle für Bänke"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    return folder


def _stages(report: Any) -> dict[str, tuple[str, str]]:
    return {stage["name"]: (stage["outcome"], stage["because"]) for stage in report["stages"]}


def test_no_commit_a_worktree_and_no_git_at_all_are_told_and_no_reason_to_stop(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    folder = _write_project(root / "Straße 1")
    facts = read_git(folder, None, {})
    assert (facts.commit, facts.base) == (None, None) and "no commit yet" in facts.notes[0]
    found = affected_models(folder, None, {})
    assert [(one.folder, one.because) for one in found.models] == [
        ("Straße 1", "there is no base to compare with")
    ]
    commit = commit_all(root)
    git(root, "worktree", "add", "--quiet", "-b", "beside", str(tmp_path / "work tree"))
    beside = read_git(tmp_path / "work tree" / "Straße 1", None, {})
    assert (beside.root, beside.prefix, beside.branch) == (tmp_path / "work tree", "Straße 1/", "beside")
    assert (beside.commit, beside.base_name) == (commit, "main")
    (root / " spaced").mkdir()
    assert read_git(root / " spaced", None, {}).prefix == " spaced/"
    (tmp_path / "work tree" / "Straße 1" / "train.py").write_text("# other\n")
    assert [one.folder for one in affected_models(tmp_path / "work tree", None, {}).models] == ["Straße 1"]

    monkeypatch.setenv("PATH", str(tmp_path))
    facts = read_git(folder, None, {})
    assert facts.commit is None and "git is not installed" in facts.notes[0]
    with pytest.raises(BadInput, match="git is not installed, so there is no main"):
        read_git(folder, "main", {})
    assert [one.folder for one in affected_models(root, None, {}).models] == ["Straße 1"]


@pytest.mark.long
def test_a_base_without_the_project_with_a_broken_one_or_another_name_is_told_and_nothing_is_registered_twice(
    root: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    folder = _write_project(root / "Straße 1")
    said = command("ci", "--json", cwd=folder)
    empty = said.json()
    assert (said.code, empty["version"], empty["commit"]) == (0, 1, None)
    assert any("no commit yet" in warning for warning in empty["warnings"])

    project = (folder / "flyball.toml").read_text()
    (folder / "flyball.toml").unlink()
    (root / "README").write_text("before the model")
    without = commit_all(root)
    (folder / "flyball.toml").write_text("[model\n")
    broken = commit_all(root)
    (folder / "flyball.toml").write_text(project.replace('"line"', '"curve"'))
    renamed = commit_all(root)
    (folder / "flyball.toml").write_text(project)
    commit_all(root)

    for base, words in ((without, "Straße 1/flyball.toml: the model is new"), (broken, "can't be used")):
        said = command("ci", "--base", base, "--json", cwd=folder)
        report = said.json()
        assert (said.code, report["version"], report["registered"]) == (0, 1, False)
        assert _stages(report)["base"][0] == "skipped" and words in _stages(report)["base"][1]
    report = command("ci", "--base", renamed, "--json", cwd=folder).json()
    told = [warning for warning in report["warnings"] if "calls its model line, which was curve" in warning]
    assert len(told) == 1 and "Straße 1/flyball.toml" in told[0] and "without champion" in told[0]

    git(root, "worktree", "add", "--quiet", "-b", "beside", str(tmp_path / "work tree"))
    report = command("ci", "--base", without, "--json", cwd=tmp_path / "work tree" / "Straße 1").json()
    assert (report["branch"], report["version"], report["trained"]) == ("beside", 1, False)

    bare = tmp_path / "bin"
    bare.mkdir()
    monkeypatch.setenv("PATH", str(bare))
    said = command("ci", "--json", cwd=folder)
    report = said.json()
    assert (said.code, report["commit"]) == (0, None)
    assert any("git is not installed" in warning for warning in report["warnings"])
    assert len(command("versions", "line", "--json", cwd=folder).json()) == 1
    assert len(command("models", "--json", cwd=folder).json()) == 1


def test_two_models_of_one_name_are_refused_before_anything_is_made(
    root: Path, command: Callable[..., Any], tmp_path: Path
):
    _write_project(root / "one")
    _write_project(root / "two", name="line")
    commit_all(root)
    said = command("ci", "--json", cwd=root / "two")
    assert (said.code, said.out) == (2, "")
    assert "name their model 'line': one/flyball.toml and two/flyball.toml" in said.err
    assert not (tmp_path / "home").exists()


def _with_other_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git to whom every repository belongs to another user, as it does to one in a container."""
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_repository_of_another_user_is_refused_with_the_command_that_trusts_it(
    root: Path, command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = _write_project(root / "one")
    commit_all(root)
    _with_other_owner(tmp_path, monkeypatch)
    for verb in (("ci",), ("ci", "affected")):
        said = command(*verb, "--json", cwd=folder)
        assert (said.code, said.out) == (2, "")
        assert f"git config --global --add safe.directory '{root}'" in said.err
    assert not (tmp_path / "home").exists()
    git(root, "config", "--global", "--add", "safe.directory", str(root))
    assert read_git(folder, None, {}).commit is not None


@pytest.mark.parametrize("kind", ["a link to nowhere", "no head", "no objects"])
def test_a_repository_that_git_cannot_read_is_refused_and_not_taken_for_none(
    root: Path, command: Callable[..., Any], tmp_path: Path, kind: str
):
    folder = _write_project(root / "one")
    commit = commit_all(root)
    if kind == "no objects":
        shutil.rmtree(root / ".git" / "objects")
        (root / ".git" / "objects").mkdir()
    else:
        (root / ".git").rename(tmp_path / "elsewhere.git")
    if kind == "a link to nowhere":
        (root / ".git").write_text(f"gitdir: {tmp_path / 'gone'}\n")
    elif kind == "no head":
        (root / ".git").mkdir()
    said = command("ci", "--json", cwd=folder)
    assert (said.code, said.out) == (2, "")
    expected = (
        f"can't read commit {commit[:12]}" if kind == "no objects" else f"can't read the repository {root}"
    )
    assert expected in said.err
    assert not (tmp_path / "home").exists()


def test_a_base_that_was_pushed_over_is_compared_from_where_the_histories_part_or_as_it_is(root: Path):
    folder = _write_project(root / "one")
    _write_project(root / "two", name="two")
    first = commit_all(root)
    (folder / "train.py").write_text("# merged, and taken back by a push with force\n")
    dropped = commit_all(root)
    git(root, "checkout", "--quiet", "-b", "change")
    (root / "two" / "train.py").write_text("# the change\n")
    commit_all(root)
    git(root, "branch", "--quiet", "--force", "main", first)
    facts = read_git(folder, "main", {})
    assert (facts.base, facts.notes) == (first, [])  # the dropped commit is a part of the change now
    assert [one.folder for one in affected_models(root, "main", {}).models] == ["one", "two"]

    git(root, "checkout", "--quiet", "--orphan", "anew")
    commit_all(root)
    git(root, "branch", "--quiet", "--force", "main", "anew")
    git(root, "checkout", "--quiet", "change")
    facts = read_git(folder, "main", {})
    assert facts.base == git(root, "rev-parse", "main")
    assert "they have no commit in common" in facts.notes[0]

    # On main itself, the host names the commit that stood there before the push.
    git(root, "checkout", "--quiet", "-B", "main", first)
    (root / "two" / "train.py").write_text("# after the push\n")
    commit_all(root)
    assert [one.folder for one in affected_models(root, dropped, {}).models] == ["one", "two"]
    for gone, words in (("f" * 40, "a force-push may have replaced it"), ("0" * 40, "the branch is new")):
        found = affected_models(root, gone, {})
        assert [one.folder for one in found.models] == ["one", "two"] and words in found.notes[0]
    with pytest.raises(BadInput, match="no branch, tag or commit 'ffffff'"):
        affected_models(root, "ffffff", {})


def _with_submodule(root: Path, library: Path) -> tuple[Path, str]:
    """A project that takes its slope from a submodule in its folder, which moves on in the change; the base."""
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch=main", ".")
    (library / "slopes.py").write_text("SLOPE = 2.0\n")
    commit_all(library)
    train = "from libs.slopes import SLOPE\n" + LINE.replace('"slope", 2.0', '"slope", SLOPE')
    folder = _write_project(root / "one", train=train)
    git(root, "submodule", "--quiet", "add", f"file://{library}", "one/libs")
    base = commit_all(root)
    git(root, "checkout", "--quiet", "-b", "change")
    (library / "slopes.py").write_text("SLOPE = 1.9\n")
    commit_all(library)
    git(folder / "libs", "pull", "--quiet", "origin", "main")
    commit_all(root)
    return folder, base


def test_files_of_a_submodule_are_source_like_others_on_both_sides_and_told_where_they_are_missing(
    root: Path, tmp_path: Path
):
    folder, base = _with_submodule(root, tmp_path / "library")
    tree = {file.path: file.content for file in collect_tree(folder, "rows.csv").files}
    assert tree["libs/slopes.py"] == b"SLOPE = 1.9\n" and "rows.csv" not in tree
    facts = read_git(folder, None, {})
    assert (facts.base, facts.notes) == (base, [])
    (tmp_path / "base").mkdir()
    assert extract(facts, tmp_path / "base") == []
    assert (tmp_path / "base" / "one" / "libs" / "slopes.py").read_text() == "SLOPE = 2.0\n"
    git(root, "submodule", "--quiet", "deinit", "--force", "one/libs")
    (note,) = read_git(folder, None, {}).notes
    assert note.startswith("submodule libs is not in this clone") and "git submodule update --init" in note


@pytest.mark.long
def test_a_project_that_imports_from_a_submodule_is_compared_with_the_one_that_the_base_had(
    root: Path, command: Callable[..., Any], tmp_path: Path
):
    folder, _ = _with_submodule(root, tmp_path / "library")
    said = command("ci", "--json", cwd=folder)
    report = said.json()
    assert (said.code, report["registered"]) == (0, True), report["because"]
    assert _stages(report)["base"][0] == "pass", _stages(report)["base"]
    mae = next(line for line in report["metrics"] if line["metric"] == "mae" and line["slice"] is None)
    assert mae["versus_base"]["label"] == "worse"  # the base was run with the submodule's older slope
    git(root, "submodule", "--quiet", "deinit", "--force", "one/libs")
    said = command("ci", "--json", cwd=folder)
    assert said.code == 1 and _stages(said.json())["checks"][0] == "fail"
    assert any("git submodule update" in warning for warning in said.json()["warnings"])


def test_a_project_in_a_submodule_has_the_repository_of_the_submodule(root: Path, tmp_path: Path):
    inner = tmp_path / "inner"
    _write_project(inner / "model")
    git(inner, "init", "--quiet", "--initial-branch=main", ".")
    commit = commit_all(inner)
    git(root, "submodule", "--quiet", "add", f"file://{inner}", "parts")
    commit_all(root)
    facts = read_git(root / "parts" / "model", None, {})
    assert (facts.root, facts.prefix, facts.commit) == (root / "parts", "model/", commit)
    assert facts.base_name == "main"
    (root / "parts" / "model" / "train.py").write_text("# other\n")
    assert [one.folder for one in affected_models(root / "parts", None, {}).models] == ["model"]
    assert [one.folder for one in affected_models(root, None, {}).models] == ["parts/model"]


def test_rows_that_are_a_pointer_of_git_lfs_are_told_before_anything_is_trained(
    root: Path, command: Callable[..., Any]
):
    folder = _write_project(root / "one")
    (folder / "rows.csv").write_text(POINTER)
    commit_all(root)
    said = command("ci", "--json", cwd=folder)
    report = said.json()
    assert (said.code, _stages(report)["checks"][0], report["registered"]) == (1, "fail", False)
    assert "pointer of Git LFS" in report["because"][0] and "`git lfs pull`" in report["because"][0]
    assert command("runs", "--json", cwd=folder).json() == []
