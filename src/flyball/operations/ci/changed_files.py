"""Which files of a repository there are, and which of them a change touches: one question to git each."""

from __future__ import annotations

import os
from bisect import bisect_left
from pathlib import Path

import msgspec

from flyball.core.errors import Unavailable
from flyball.operations.ci.git import NO_HOMES
from flyball.pipelines.git_run import ask_git
from flyball.pipelines.left_out import TOOL_FOLDERS, is_of_a_tool, is_output


class ChangedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a repository and those that changed, as sorted paths below its root with forward slashes.

    files: those that lie there or are known to have lain there. changed: None where there is nothing to compare with.
    empty_submodules: changed submodules whose files are not in this clone.
    """

    files: list[str]
    changed: list[str] | None
    empty_submodules: list[str] = []


def read_changed_files(
    root: Path, base: str | None, *, with_uncommitted: bool, tip: str | None = None
) -> ChangedFiles:
    """What changed from a commit to the present one, renamed files on both sides; what is not committed yet, too.

    tip: another commit, whose differences count as well. A submodule that moved counts as every file in it. Raises
    Unavailable where git does not answer.
    """
    touched: list[str] = []
    listed = _asked(root, "ls-files", "-z", "--cached", "--recurse-submodules")
    known = sorted({commit for commit in (base, tip) if commit is not None})
    for before in known:
        touched += _asked(
            root, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", before, "HEAD"
        )
    if with_uncommitted:
        touched += _uncommitted(root)
    files = sorted({*listed, *touched})
    inside = [(path, files_below(files, path)) for path in sorted(set(touched))]
    expanded = {name for path, names in inside for name in (path, *names)}
    empty = [path for path, names in inside if not names and _is_folder(root / path)]
    return ChangedFiles(
        files=files,
        changed=sorted(expanded) if known else None,
        empty_submodules=empty,
    )


def files_below(files: list[str], folder: str) -> list[str]:
    """Those of sorted paths that lie below a folder."""
    if not folder:
        return files
    return files[bisect_left(files, f"{folder}/") : bisect_left(files, f"{folder}0")]  # "0" comes after "/"


def shown(text: str) -> str:
    """A text in UTF-8, also where it holds a file name that is not."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def walk_files(root: Path) -> list[str]:
    """The files below a folder in order, git or no git; not those of tools, nor in folders with a dot."""
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in TOOL_FOLDERS and not name.startswith(".")]
        found += [(Path(place) / name).relative_to(root).as_posix() for name in names]
    return sorted(found)


def _uncommitted(root: Path) -> list[str]:
    """Files that differ from the commit, and new ones that look like source; not other repositories in this one."""
    status = _asked(
        root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all",
        "--ignore-submodules=untracked", "--", ".", NO_HOMES,
    )  # fmt: skip
    return [entry[3:] for entry in status if not entry.startswith("?? ") or not _is_no_source(entry[3:])]


def _is_no_source(path: str) -> bool:
    return path.endswith("/") or is_of_a_tool(Path(path)) or is_output(Path(path))


def _asked(root: Path, *arguments: str) -> list[str]:
    """What git prints with `-z`, item by item, names as the file system has them."""
    answer = ask_git(root, *arguments)
    if answer.printed is None:
        raise Unavailable(f"git {arguments[0]} failed in {root}: {answer.problem}", folder=str(root))
    return [os.fsdecode(item) for item in answer.printed.split(b"\0") if item]
