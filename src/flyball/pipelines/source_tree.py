"""The project's own files as one object: what a run executes is what is kept, and can be checked out again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_bytes, digest_json
from flyball.core.errors import BadInput, CorruptObject, NewerFormat
from flyball.pipelines.project_file import FILE_NAME

TREE_FORMAT = 1
LARGEST_FILE_BYTES = 1024 * 1024
LARGEST_TREE_BYTES = 64 * 1024 * 1024
MOST_FILES = 10_000
_LEFT_OUT_FOLDERS = {
    ".git",
    ".flyball",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
}
# A run reads tables through `[data] source`; as files of the project they would be data that nobody froze.
_TABLE_ENDINGS = (
    ".parquet",
    ".csv",
    ".csv.gz",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".feather",
    ".arrow",
    ".db",
    ".sqlite",
)
_LEFT_OUT_ENDINGS = (".pyc", ".pyo", *_TABLE_ENDINGS)
# Where people and tools put what comes out. A report written there must not look like new source, or it would train.
_OUTPUT_FOLDERS = {"out", "output", "outputs", "reports", "results", "logs", "artifacts", "mlruns"}
_OUTPUT_ENDINGS = (".log",)


class TreeFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a tree: its path below the project's folder with forward slashes, and its bytes."""

    path: str
    content: bytes
    executable: bool = False


class SourceTree(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a project in the order of their paths. No times, so equal files give an equal digest."""

    format: int = TREE_FORMAT
    files: tuple[TreeFile, ...]


class _Head(msgspec.Struct):
    """What every format of a tree begins with."""

    format: int


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """The commit that files were taken at; `is_dirty` when they differ from it, `diff` how (at most 1 MiB)."""

    commit: str | None
    branch: str | None
    is_dirty: bool
    diff: str | None = None


def collect_tree(folder: Path, data_source: str | None = None) -> SourceTree:
    """The files of a project's folder: those that git does not ignore or, without git, all small ones.

    Left out: files above 1 MiB, tables, the data source itself, folders of tools and, unless git tracks them, logs and
    whatever is no Python in folders for output such as `out` and `reports`. Raises BadInput when a tree is larger than
    64 MiB or has more than 10,000 files.
    """
    folder = folder.resolve()
    data_files = {(folder / data_source).resolve()} if data_source and "://" not in data_source else set()
    files: list[TreeFile] = []
    size_bytes = 0
    for path in sorted(set(_candidates(folder))):
        file = folder / path
        if file.resolve() in data_files or not _is_small_file(file):
            continue
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


def store_tree(tree: SourceTree, blobs: BlobStore) -> str:
    """Keep a tree as one object; its digest."""
    return blobs.put_object(msgspec.msgpack.encode(tree))


def read_tree(digest: str, blobs: BlobStore) -> SourceTree:
    """A kept tree. Raises ObjectNotFound, CorruptObject, NewerFormat."""
    data = blobs.get_object(digest)
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if head.format > TREE_FORMAT:
            raise NewerFormat(
                f"source tree {digest} has format {head.format}, newer than this program knows ({TREE_FORMAT}); "
                "update Flyball here",
                digest=digest,
            )
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


def _candidates(folder: Path) -> Iterator[Path]:
    tracked = _git_files(folder, "--cached")
    others = _git_files(folder, "--others", "--exclude-standard")
    # A folder that git ignores as a whole (a project below a build folder) is none of git's business.
    if not tracked and not others:
        others = [
            (Path(root) / name).relative_to(folder)
            for root, folders, names in os.walk(folder)
            if _prune(folders)
            for name in names
        ]
    for path in (*tracked, *(path for path in others if not _is_output(path))):
        if _LEFT_OUT_FOLDERS.isdisjoint(path.parts) and not path.name.lower().endswith(_LEFT_OUT_ENDINGS):
            yield path


def _git_files(folder: Path, *which: str) -> list[Path]:
    listed = _git(folder, "ls-files", "-z", *which, "--", ".") or ""
    return [Path(name) for name in listed.split("\0") if name]


def _is_output(path: Path) -> bool:
    """Whether a file that nobody has put under version control looks like something that was written by a program."""
    if path.suffix.lower() in _OUTPUT_ENDINGS:
        return True
    return path.suffix != ".py" and not _OUTPUT_FOLDERS.isdisjoint(part.lower() for part in path.parts[:-1])


def _prune(folders: list[str]) -> bool:
    folders[:] = [name for name in folders if name not in _LEFT_OUT_FOLDERS and not name.startswith(".")]
    return True


def _is_small_file(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST_FILE_BYTES


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it is not installed or the folder is in no repository."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=False,
            timeout=30,
            env=environment,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
