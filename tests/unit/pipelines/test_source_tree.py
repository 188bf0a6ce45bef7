from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_repositories import git

from flyball.core.errors import CorruptObject, NewerFormat
from flyball.pipelines.source_tree import (
    LARGEST_FILE_BYTES,
    SourceTree,
    TreeFile,
    check_out,
    code_digest,
    collect_tree,
    list_left_out,
    read_git_state,
    read_tree,
    store_tree,
    tree_digest,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "flyball.toml").write_text("[model]\n")
    (folder / "train.py").write_text("def train(): ...\n")
    (folder / "lib" / "more.py").write_text("x = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "data.csv").write_text("a,b\n1,2\n")
    (folder / "notes.txt").write_text("the source itself\n")
    (folder / "large.bin").write_bytes(b"\0" * (LARGEST_FILE_BYTES + 1))
    (folder / ".flyball").mkdir()
    (folder / ".flyball" / "flyball.db").write_text("state")
    return folder


def paths(tree: SourceTree) -> list[str]:
    return [file.path for file in tree.files]


def test_without_git_all_small_files_are_taken_but_tables_state_and_the_source_itself(project: Path):
    tree = collect_tree(project, "notes.txt")
    assert paths(tree) == ["flyball.toml", "lib/more.py", "run.sh", "train.py"]


def test_with_git_what_is_ignored_is_left_out_and_what_is_new_is_taken(project: Path):
    git(project, "init", "-q")
    (project / ".gitignore").write_text("notes.txt\n")
    git(project, "add", "train.py")
    git(project, "commit", "-qm", "first")
    assert paths(collect_tree(project)) == [".gitignore", "flyball.toml", "lib/more.py", "run.sh", "train.py"]
    state = read_git_state(project)
    assert state is not None and state.is_dirty and state.commit is not None and len(state.commit) == 40
    (project / "train.py").write_text("def train(): pass\n")
    changed = read_git_state(project)
    assert changed is not None and changed.diff is not None and "+def train(): pass" in changed.diff


def test_a_hook_that_names_another_index_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch):
    git(project, "init", "-q")
    (project / "out").mkdir()
    (project / "out" / "words.txt").write_text("an output, and tracked")
    git(project, "add", "--force", "out")
    before = paths(collect_tree(project))
    assert "out/words.txt" in before
    # As git does for `git commit -a`, relative to a folder that is not the project's.
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/elsewhere")
    monkeypatch.setenv("GIT_DIR", ".git/nowhere")
    assert paths(collect_tree(project)) == before


def test_a_folder_outside_any_repository_has_no_git_state(tmp_path: Path):
    assert read_git_state(tmp_path) is None


def test_a_tree_comes_back_as_it_was(project: Path, tmp_path: Path, file_blobs: Any):
    tree = collect_tree(project)
    digest = store_tree(tree, file_blobs)
    assert digest == tree_digest(tree)
    check_out(read_tree(digest, file_blobs), tmp_path / "again")
    assert collect_tree(tmp_path / "again") == tree
    assert os.access(tmp_path / "again" / "run.sh", os.X_OK)


def test_the_project_file_does_not_count_as_code(project: Path):
    before = collect_tree(project)
    (project / "flyball.toml").write_text("[model]\n# a comment\n")
    after = collect_tree(project)
    assert tree_digest(before) != tree_digest(after)
    assert code_digest(before) == code_digest(after)
    (project / "lib" / "more.py").write_text("x = 2\n")
    assert code_digest(collect_tree(project)) != code_digest(after)


@pytest.mark.parametrize("path", ["../evil.py", "/etc/evil", "a/../../evil", "a\\..\\evil", "", "a\0b"])
def test_a_path_that_would_leave_the_folder_is_refused(tmp_path: Path, path: str):
    with pytest.raises(CorruptObject):
        check_out(SourceTree(files=(TreeFile(path=path, content=b"x"),)), tmp_path / "out")
    assert not (tmp_path / "evil.py").exists()


def test_links_are_not_followed_out_of_the_project(project: Path, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert "link.txt" not in paths(collect_tree(project))


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


REPORTS = ("out/report.json", "Reports/week.html", "lib/results/metrics.json", "trail.jsonl", "run.log")
SETTINGS = ("config.json", "conf/space.json", "outlook.json", "results/__init__.py")


def test_reports_are_no_source_and_the_projects_own_settings_are(project: Path):
    before = code_digest(collect_tree(project))
    write(project, *REPORTS)
    assert code_digest(collect_tree(project)) == before
    write(project, *SETTINGS)
    assert set(SETTINGS) < set(paths(collect_tree(project)))


def test_with_git_a_report_is_source_only_if_it_is_tracked(project: Path):
    git(project, "init", "-q")
    git(project, "add", "train.py")
    write(project, *REPORTS, *SETTINGS)
    taken = paths(collect_tree(project))
    assert set(SETTINGS) < set(taken) and not set(REPORTS) & set(taken)
    git(project, "add", "out/report.json", "trail.jsonl")
    taken = paths(collect_tree(project))
    # What is tracked was put there by a person; a table is no source even then.
    assert "out/report.json" in taken and "trail.jsonl" not in taken


def test_what_is_left_out_is_told_with_its_reason_but_not_the_data_itself(project: Path):
    git(project, "init", "-q")
    write(project, "results/labels.json", "data/2024.csv", "ignored.csv")
    (project / ".gitignore").write_text("ignored.csv\n")
    assert dict(list_left_out(project, "data/*.csv")) == {
        "results/labels.json": "an output that git does not track",
        "data.csv": "a table",
        "large.bin": "larger than 1 MiB",
    }
    git(project, "add", "results/labels.json")
    assert "results/labels.json" not in dict(list_left_out(project, "data/*.csv"))
    assert "data/2024.csv" not in dict(list_left_out(project, "data"))


def test_a_tree_of_a_newer_format_asks_for_a_newer_program_and_a_broken_one_is_told(file_blobs: Any):
    newer = file_blobs.put_object(msgspec.msgpack.encode({"format": 2, "parts": ["elsewhere"]}))
    with pytest.raises(NewerFormat, match="update Flyball"):
        read_tree(newer, file_blobs)
    for content in (b"no tree", msgspec.msgpack.encode({"format": 1}), msgspec.msgpack.encode(["format"])):
        with pytest.raises(CorruptObject):
            read_tree(file_blobs.put_object(content), file_blobs)


def test_which_version_is_deployed_is_no_part_of_the_code_so_naming_another_trains_nothing(project: Path):
    before = tree_digest(collect_tree(project))
    (project / "deployments").mkdir()
    (project / "deployments" / "staging.toml").write_text("[deployments]\n")
    assert tree_digest(collect_tree(project)) == before
    assert not any("deployments" in path for path, _ in list_left_out(project))
    (project / "deployments" / "rules.py").write_text("x = 1\n")
    assert [file.path for file in collect_tree(project).files if "deployments" in file.path] == [
        "deployments/rules.py"
    ]
