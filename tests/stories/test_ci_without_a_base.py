"""What `flyball ci` compares with, and what it says where Git, the base, the home or the server is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import git

from flyball.core.errors import BadInput
from flyball.operations.ci.git import extract, read_git


def _commit(folder: Path, text: str) -> str:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "flyball.toml").write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A repository whose branch `change` left `main` after its first commit; the commits by name."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    first = _commit(folder, "first")
    git(folder, "checkout", "--quiet", "-b", "change")
    change = _commit(folder, "change")
    git(folder, "checkout", "--quiet", "main")
    later = _commit(folder, "later")
    git(folder, "checkout", "--quiet", "change")
    return folder, {"first": first, "change": change, "later": later}


def _clone(origin: Path, *options: str) -> Path:
    git(origin.parent, "clone", "--quiet", *options, f"file://{origin}", "clone")
    return origin.parent / "clone" / "models"


def test_the_base_is_the_commit_where_the_change_left_the_branch_that_the_host_names(
    origin: tuple[Path, dict[str, str]],
):
    folder, commits = origin
    for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"):
        facts = read_git(folder / "models", None, {name: "main"})
        assert (facts.commit, facts.branch, facts.base_name) == (commits["change"], "change", "main")
        assert (facts.base, facts.prefix, facts.notes) == (commits["first"], "models/", [])
    assert read_git(folder / "models", commits["later"][:10], {}).base == commits["first"]
    clone = _clone(folder, "--branch", "change")
    git(clone, "remote", "set-head", "origin", "main")
    assert read_git(clone, None, {}).base == commits["first"]


def test_that_a_commit_is_the_bases_is_said_only_while_nothing_beside_it_has_changed(
    origin: tuple[Path, dict[str, str]],
):
    folder, _ = origin
    git(folder, "checkout", "--quiet", "main")
    assert read_git(folder / "models", None, {}).notes == [
        "the commit is that of main: there is no change of it to compare"
    ]
    (folder / "models" / "flyball.toml").write_text("not committed")
    (note,) = read_git(folder / "models", None, {}).notes
    assert "differ from the commit (models/flyball.toml):" in note
    for name in ("a report.md", "b", "c"):
        (folder / "models" / name).write_text("")
    (note,) = read_git(folder / "models", None, {}).notes
    assert '(models/flyball.toml, "models/a report.md", models/b and others)' in note


def test_the_files_of_the_base_are_read_without_touching_the_working_tree(
    origin: tuple[Path, dict[str, str]], tmp_path: Path
):
    folder, _ = origin
    (folder / "models" / "flyball.toml").write_text("not committed")
    before = git(folder, "status", "--porcelain=v2", "--branch")
    facts = read_git(folder / "models", None, {})
    assert facts.is_dirty and any("differ from the commit" in note for note in facts.notes)
    (tmp_path / "base").mkdir()
    assert extract(facts, tmp_path / "base") == []
    assert (tmp_path / "base" / "models" / "flyball.toml").read_text() == "first"
    assert git(folder, "status", "--porcelain=v2", "--branch") == before
    assert (folder / "models" / "flyball.toml").read_text() == "not committed"


def test_what_git_keeps_elsewhere_is_said_to_be_missing(origin: tuple[Path, dict[str, str]], tmp_path: Path):
    folder, _ = origin
    (folder / "rows.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    git(folder, "submodule", "--quiet", "add", f"file://{folder}", "below")
    _commit(folder, "with parts elsewhere")
    (tmp_path / "base").mkdir()
    (folder / "way-out").symlink_to("/etc")
    _commit(folder, "with a link to elsewhere")
    git(folder, "submodule", "--quiet", "deinit", "--force", "below")
    notes = extract(read_git(folder, "change", {}), tmp_path / "base")
    assert len(notes) == 3 and "way-out of the base leads out" in notes[0]
    assert "submodule below of the base is not in this clone" in notes[1] and "Git LFS" in notes[2]


def test_without_git_or_commit_or_with_an_unknown_branch_it_is_said_what_is_missing(
    origin: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    plain = tmp_path / "plain"
    plain.mkdir()
    assert "no Git repository" in read_git(plain, None, {}).notes[0]
    with pytest.raises(BadInput, match="no Git repository"):
        read_git(plain, "main", {})
    git(plain, "init", "--quiet", ".")
    assert any("no commit yet" in note for note in read_git(plain, None, {}).notes)
    facts = read_git(origin[0], None, {"GITHUB_BASE_REF": "gone"})
    assert facts.base is None and any("gone is not in this clone" in note for note in facts.notes)
    with pytest.raises(BadInput, match="no branch, tag or commit 'gone'"):
        read_git(origin[0], "gone", {})
    with pytest.raises(BadInput, match="--output"):  # never an option of git
        read_git(origin[0], "--output=/x", {})


def test_a_shallow_clone_and_a_detached_head_are_told_and_no_reason_to_stop(
    origin: tuple[Path, dict[str, str]],
):
    folder, commits = origin
    clone = _clone(folder, "--depth", "1", "--branch", "change")
    facts = read_git(clone, None, {"GITHUB_BASE_REF": "main"})
    assert facts.base is None and any("shallow" in note and "fetch-depth: 0" in note for note in facts.notes)
    git(folder, "checkout", "--quiet", "--detach")
    detached = read_git(folder, None, {"GITHUB_BASE_REF": "main"})
    assert (detached.branch, detached.base) == (None, commits["first"])
    assert any("detached" in note for note in detached.notes)
    assert read_git(folder, None, {"GITHUB_HEAD_REF": "change"}).branch == "change"


def test_a_check_without_git_or_a_home_to_write_in_still_answers_and_says_what_was_not_kept(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "file").write_text("a file, below which there is no folder")
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("FLYBALL_URL", "http://127.0.0.1:9")
    said = command("ci", "--json", cwd=make_project())
    report = said.json()
    assert (said.code, report["outcome"], report["commit"]) == (0, "pass", None)
    assert report["version"] is None and not report["registered"]
    told = " ".join(report["warnings"])
    assert "no Git repository" in told and "can't be written" in told and "nothing was written there" in told


def test_a_store_that_is_damaged_breaks_the_check_and_says_nothing_of_the_model(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "flyball.db").write_bytes(b"no database" * 1000)
    said = command("ci", "--json", cwd=make_project())
    report = said.json()
    assert (said.code, report["outcome"], report["stages"][-1]["name"]) == (3, "broken", "stores")
    assert "says nothing about the model" in report["what_to_do"] and report["run_id"] is None


def test_wrong_use_is_2(make_project: Callable[..., Path], command: Callable[..., Any], tmp_path: Path):
    folder = make_project()
    assert command("ci", "--report", "report.docx", cwd=folder).code == 2
    assert command("ci", str(tmp_path / "elsewhere")).code == 2
    assert command("ci", "--base", "no-such-branch", cwd=folder).code == 2


@pytest.fixture
def at(command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `at("runner", "ci", cwd=folder)` in the home of this name, without Git; all homes share their objects."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("FLYBALL_OBJECTS", f"file://{tmp_path / 'shared'}")

    def run(home: str, *arguments: str, cwd: Path) -> Any:
        monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / home))
        return command(*arguments, cwd=cwd)

    return run


def test_the_check_of_a_stranger_reads_the_shared_objects_and_writes_none(
    make_project: Callable[..., Path], at: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_project(more='[[gates]]\nmetric = "mae"\nmax = 1.0\n')
    ours = at("maintainer", "ci", "--json", cwd=folder).json()
    assert ours["trained"] and ours["registered"]
    before = {path: path.read_bytes() for path in (tmp_path / "shared").rglob("*") if path.is_file()}

    monkeypatch.setenv("FLYBALL_CACHE", "read")
    file = folder / "flyball.toml"
    file.write_text(file.read_text().replace("max = 1.0", "max = 0.01"))
    said = at("stranger", "ci", "--json", cwd=folder)
    theirs = said.json()
    # What was trained is known from the shared store, what it is held to is judged anew.
    assert (said.code, theirs["outcome"], theirs["trained"]) == (1, "fail", False)
    assert before == {path: path.read_bytes() for path in (tmp_path / "shared").rglob("*") if path.is_file()}


@contextmanager
def _without_object(store: Path, digest: str) -> Iterator[None]:
    """A store that somebody deleted an object from, and put it back later."""
    (path,) = store.rglob(digest.removeprefix("sha256:"))
    kept = path.read_bytes()
    path.unlink()
    yield
    path.write_bytes(kept)


def test_a_fresh_runner_is_held_to_the_champion_that_its_database_does_not_know_and_told_where_that_is_lost(
    make_project: Callable[..., Path], at: Callable[..., Any], tmp_path: Path
):
    folder = make_project(more='[[gates]]\nmetric = "mae"\nversus = "champion"\nmax_increase = 0.05\n')
    assert at("production", "run", cwd=folder).code == 0
    assert at("production", "deploy", "line", "--why", "first", cwd=folder).code == 0
    (version,) = at("production", "versions", "line", "--json", cwd=folder).json()
    digest = version["digest"]

    train = folder / "train.py"
    train.write_text(train.read_text().replace('"slope", 2.0', '"slope", 1.0'))
    with _without_object(tmp_path / "shared", digest):
        lost = at("runner", "ci", "--json", cwd=folder)
    report = lost.json()
    assert (lost.code, report["outcome"], report["version"]) == (3, "broken", None)
    assert "the package of line@1, the champion, is not whole in the object store" in report["because"][0]
    assert at("runner", "models", "--json", cwd=folder).json() == []

    said = at("runner", "ci", "--json", cwd=folder)
    report = said.json()
    assert (said.code, report["outcome"]) == (1, "fail"), report["because"]
    assert (report["champion"]["number"], report["champion"]["rows"]) == (1, 80)
    mae = next(line for line in report["metrics"] if line["metric"] == "mae" and line["slice"] is None)
    assert mae["versus_champion"]["label"] == "worse"
