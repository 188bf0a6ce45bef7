"""What Git says about a change: its commit, its branch, the commit of the base branch, and that commit's files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput
from flyball.operations.ci.git_run import ask_git

_BASE_VARIABLES = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "CHANGE_TARGET",
)
_BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "CI_COMMIT_REF_NAME", "CHANGE_BRANCH")
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"


class GitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The repository a project lies in. Without one, all is None and `notes` says so.

    prefix: the project's folder below the root, with a slash behind it, or empty. tree: digest of all files of the
    commit, None where the files that lie there are others. base: name and commit of what the
    change is compared with, the commit where it left the base branch; None where that can't be told.
    """

    root: Path | None = None
    prefix: str = ""
    commit: str | None = None
    tree: str | None = None
    branch: str | None = None
    is_dirty: bool = False
    base_name: str | None = None
    base: str | None = None
    notes: list[str] = []


def read_git(folder: Path, base: str | None, environment: Mapping[str, str]) -> GitFacts:
    """The facts of a folder's repository. base: a branch, tag or commit, in place of what the host or origin names.

    Raises BadInput for a base that was named and is not there. Nothing in the repository is changed.
    """
    root = git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        if base is not None:
            raise BadInput(
                f"{folder} is in no Git repository (or git is not installed), so there is no {base}"
            )
        return GitFacts(notes=["no Git repository: there is no commit to name and no base to compare with"])
    notes: list[str] = []
    commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    branch = git(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    if commit is None:
        notes.append("the repository has no commit yet: there is nothing to compare with")
    elif branch is None:
        branch = next((environment[name] for name in _BRANCH_VARIABLES if environment.get(name)), None)
        if branch is None:
            notes.append("the head is detached: the change has a commit and no branch")
    is_dirty = _is_dirty(folder)
    if is_dirty:
        notes.append("files differ from the commit: what is checked is what lies in the folder")
    name, found = _find_base(folder, base, environment, commit, notes)
    return GitFacts(
        root=Path(root),
        prefix=git(folder, "rev-parse", "--show-prefix") or "",
        commit=commit,
        tree=None if is_dirty or _is_dirty(Path(root)) else git(folder, "rev-parse", "HEAD^{tree}"),
        branch=branch,
        is_dirty=is_dirty,
        base_name=name,
        base=found,
        notes=notes,
    )


def _is_dirty(folder: Path) -> bool:
    # A home in the working tree is no part of the change, whether it is ignored or not.
    return bool(git(folder, "status", "--porcelain", "--", ".", ":(exclude,glob)**/.flyball/**"))


def _find_base(
    folder: Path, asked: str | None, environment: Mapping[str, str], commit: str | None, notes: list[str]
) -> tuple[str | None, str | None]:
    named = asked or next((environment[name] for name in _BASE_VARIABLES if environment.get(name)), None)
    named = named.removeprefix("refs/heads/") if named else _default_branch(folder)
    if named is None:
        notes.append("no base branch is known: name one by --base, or let origin have a default branch")
        return None, None
    tip = None if named.startswith("-") else _commit_of(folder, named)
    shallow = git(folder, "rev-parse", "--is-shallow-repository") == "true"
    if tip is None:
        if asked is not None and not shallow:
            raise BadInput(
                f"there is no branch, tag or commit {asked!r} in this repository; `git fetch` it", base=asked
            )
        notes.append(
            f"base branch {named} is not in this clone"
            + (" (it is shallow)" if shallow else "")
            + ": fetch it (fetch-depth: 0) to compare with it"
        )
        return named, None
    merge_base = None if commit is None else git(folder, "merge-base", commit, tip)
    if merge_base is None:
        why = "the clone is shallow" if shallow else "they have no commit in common"
        notes.append(
            f"where the change left {named} can't be told ({why}); it is compared with {named} itself"
        )
        return named, tip
    if merge_base == commit and tip == commit:
        notes.append(f"the commit is that of {named}: there is no change of it to compare")
    return named, merge_base


def _default_branch(folder: Path) -> str | None:
    head = git(folder, "symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD")
    if head:
        return head.removeprefix("origin/")
    return next((name for name in ("main", "master") if _commit_of(folder, name)), None)


def _commit_of(folder: Path, name: str) -> str | None:
    for form in (f"refs/remotes/origin/{name}", f"refs/heads/{name}", name):
        found = git(folder, "rev-parse", "--verify", "--quiet", f"{form}^{{commit}}")
        if found:
            return found
    return None


def extract(facts: GitFacts, folder: Path) -> list[str]:
    """Write the base's files below an empty folder, as `git archive` gives them; what is not there whole, in words.

    The folder becomes a repository of its own, so that the same files count as source there as in a clean clone.
    """
    assert facts.root is not None and facts.base is not None
    archive = ask_git(facts.root, "archive", "--format=tar", facts.base).printed
    notes: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(archive or b"")) as tar:
        tar.extractall(folder, filter="data")
    if (folder / ".gitmodules").is_file():
        notes.append("submodules of the base are not fetched: what it needs of them is missing")
    if any(_is_pointer(path) for path in folder.rglob("*")):
        notes.append("files of the base that Git LFS keeps are pointers: what it needs of them is missing")
    git(folder, "init", "--quiet", ".")
    git(folder, "add", "--all", "--force", ".")
    return notes


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 1024:
        return False
    return path.read_bytes().startswith(_LFS_HEAD)


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None where it fails, is not installed, or the folder is in no repository."""
    printed = ask_git(folder, *arguments).printed
    return None if printed is None else printed.decode(errors="replace").strip()
