"""The project's own files as one object: what a run executes is what is kept, and can be checked out again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_bytes, digest_json
from flyball.core.errors import BadInput, CorruptObject
from flyball.core.formats import check_format
from flyball.pipelines.git_run import ask_git
from flyball.pipelines.left_out import TOOL_FOLDERS, is_deployments_file, is_of_a_tool, is_output, is_table
from flyball.pipelines.project_file import FILE_NAME

TREE_FORMAT = 1
LARGEST_FILE_BYTES = 1024 * 1024
LARGEST_TREE_BYTES = 64 * 1024 * 1024
MOST_FILES = 10_000


class TreeFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a tree: its path below the project's folder with forward slashes, and its bytes."""

    path: str
    content: bytes
    executable: bool = False


class SourceTree(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a project in the order of their paths. No times, so equal files give an equal digest."""

    format: int = TREE_FORMAT
    files: tuple[TreeFile, ...]


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """The commit that files were taken at; `is_dirty` when they differ from it, `diff` how (at most 1 MiB)."""

    commit: str | None
    branch: str | None
    is_dirty: bool
    diff: str | None = None


def collect_tree(folder: Path, data_source: str | None = None) -> SourceTree:
    """The files of a project's folder: those that git does not ignore or, without git, all small ones.

    Left out: files above 1 MiB, tables, the data source itself, `deployments/*.toml`, folders of tools and, unless git
    tracks them, logs and whatever is no Python in folders for output such as `out` and `reports`. Raises BadInput when
    a tree is larger than 64 MiB or has more than 10,000 files.
    """
    folder = folder.resolve()
    files: list[TreeFile] = []
    size_bytes = 0
    for path, why in _sort_out(folder, data_source):
        if why is not None:
            continue
        file = folder / path
        content = file.read_bytes()
        size_bytes += len(content)
        files.append(TreeFile(path=path.as_posix(), content=content, executable=os.access(file, os.X_OK)))
        if size_bytes > LARGEST_TREE_BYTES or len(files) > MOST_FILES:
            raise BadInput(
                f"{folder} has more source files than a run keeps (64 MiB, 10,000 files); put flyball.toml into the "
                "folder of the training code, or add what is no source to .gitignore",
                folder=str(folder),
            )
    return SourceTree(files=tuple(sorted(files, key=lambda file: file.path)))


def list_left_out(folder: Path, data_source: str | None = None) -> list[tuple[str, str]]:
    """Path and reason of each file that `collect_tree` leaves out although it may be taken for the project's own.

    The data source (file, folder or pattern), deployments files and what git ignores are not among them.
    """
    folder = folder.resolve()
    data = folder / data_source if data_source else None
    return [
        (path.as_posix(), why)
        for path, why in _sort_out(folder, data_source)
        if why is not None and (data is None or not _is_below(folder / path, data))
    ]


def _is_below(file: Path, place: Path) -> bool:
    return place in file.parents or fnmatch(str(file), str(place))


def store_tree(tree: SourceTree, blobs: BlobStore) -> str:
    """Keep a tree as one object; its digest."""
    return blobs.put_object(msgspec.msgpack.encode(tree))


def read_tree(digest: str, blobs: BlobStore) -> SourceTree:
    """A kept tree. Raises ObjectNotFound, CorruptObject, NewerFormat."""
    data = blobs.get_object(digest)
    try:
        check_format(data, TREE_FORMAT, f"source tree {digest}", decode=msgspec.msgpack.decode, digest=digest)
        return msgspec.msgpack.decode(data, type=SourceTree)
    except msgspec.MsgspecError as error:
        raise CorruptObject(f"object {digest} is no source tree: {error}", digest=digest) from error


def tree_digest(tree: SourceTree) -> str:
    """The digest a tree is kept under."""
    return digest_bytes(msgspec.msgpack.encode(tree))


def code_digest(tree: SourceTree) -> str:
    """The digest of what training can see of a tree: everything but the project file, whose values count singly."""
    return digest_json(
        [[file.path, digest_bytes(file.content)] for file in tree.files if file.path != FILE_NAME]
    )


def check_out(tree: SourceTree, folder: Path) -> None:
    """Write a tree's files below a folder. Raises CorruptObject for a path that would leave it."""
    for file in tree.files:
        path = PurePosixPath(file.path)
        if (
            path.is_absolute()
            or ".." in path.parts
            or not path.parts
            or "\0" in file.path
            or "\\" in file.path
        ):
            raise CorruptObject(f"a source tree holds the path {file.path!r}", path=file.path)
        target = folder.joinpath(*path.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        if file.executable:
            target.chmod(0o755)


def read_git_state(folder: Path) -> GitState | None:
    """Commit, branch and differences of the repository a folder lies in; None without git or repository."""
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--", ".")
    if status is None:
        return None
    facts = dict(line[2:].split(" ", 1) for line in status.splitlines() if line.startswith("# branch."))
    is_dirty = any(not line.startswith("#") for line in status.splitlines())
    commit = facts.get("branch.oid")
    has_commit = commit is not None and commit != "(initial)"
    diff = (
        _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", ".")
        if is_dirty and has_commit
        else None
    )
    return GitState(
        commit=commit if has_commit else None,
        branch=facts.get("branch.head"),
        is_dirty=is_dirty,
        diff=diff[: 1024 * 1024] if diff else None,
    )


def _sort_out(folder: Path, data_source: str | None) -> Iterator[tuple[Path, str | None]]:
    """The files of a folder in the order of their paths, and why one is left out; None for source."""
    data_files = {(folder / data_source).resolve()} if data_source and "://" not in data_source else set()
    tracked, others = _list_files(folder)
    for path in sorted(tracked | others):
        file = folder / path
        if (
            not is_of_a_tool(path)
            and not is_deployments_file(path)
            and file.is_file()
            and file.resolve() not in data_files
        ):
            yield path, _why_left_out(path, file, is_tracked=path in tracked)


def _why_left_out(path: Path, file: Path, *, is_tracked: bool) -> str | None:
    if is_table(path):
        return "a table"
    if file.is_symlink():
        return "a link"
    if file.stat().st_size > LARGEST_FILE_BYTES:
        return "larger than 1 MiB"
    return "an output that git does not track" if not is_tracked and is_output(path) else None


def _list_files(folder: Path) -> tuple[set[Path], set[Path]]:
    """The files that git tracks, and the others that it does not ignore."""
    tracked = set(_git_files(folder, "--cached", "--recurse-submodules"))
    others = set(_git_files(folder, "--others", "--exclude-standard"))
    # A folder that git ignores as a whole (a project below a build folder) is none of git's business.
    if not tracked and not others:
        others = {
            (Path(root) / name).relative_to(folder)
            for root, folders, names in os.walk(folder)
            if _prune(folders)
            for name in names
        }
    return tracked, others


def _git_files(folder: Path, *which: str) -> list[Path]:
    listed = _git(folder, "ls-files", "-z", *which, "--", ".") or ""
    return [Path(name) for name in listed.split("\0") if name]


def _prune(folders: list[str]) -> bool:
    folders[:] = [name for name in folders if name not in TOOL_FOLDERS and not name.startswith(".")]
    return True


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it is not installed or the folder is in no repository."""
    printed = ask_git(folder, *arguments).printed
    return None if printed is None else printed.decode(errors="replace")
