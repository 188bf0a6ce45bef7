"""What Git says about a change: its commit, its branch, the commit of the base branch, and that commit's files."""

from __future__ import annotations

import io
import os
import re
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput, Unavailable
from flyball.data.files import LFS_HEAD
from flyball.pipelines.git_run import (
    GitAnswer,
    ask_git,
    find_head,
    find_planted,
    git,
    planted_words,
    printed_path,
)

_MOST_NAMED = 3
_BASE_VARIABLES = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "CHANGE_TARGET",
)
_BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "CI_COMMIT_REF_NAME", "CHANGE_BRANCH")
# A home in the working tree is no part of the change, whether it is ignored or not.
NO_HOMES = ":(exclude,glob)**/.flyball/**"
_WHOLE_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class GitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The repository a project lies in. Without one, all is None and `notes` says so.

    prefix: the project's folder below the root, with a slash behind it, or empty. tree: digest of all files of the
    commit, None where the files that lie there are others. base: name and commit of what the change is compared with,
    the commit where it left the base branch; None where that can't be told. base_tip: the newest commit of the base.
    """

    root: Path | None = None
    prefix: str = ""
    commit: str | None = None
    tree: str | None = None
    branch: str | None = None
    is_dirty: bool = False
    base_name: str | None = None
    base: str | None = None
    base_tip: str | None = None
    notes: list[str] = []


def read_git(folder: Path, base: str | None, environment: Mapping[str, str]) -> GitFacts:
    """The facts of a folder's repository. base: a branch, tag or commit, in place of what the host or origin names.

    Raises BadInput for a base that was named and is not there, and for a repository that git can't or won't read: the
    files that it ignores could not be told from the project's own. Nothing in the repository is changed.
    """
    answer = ask_git(folder, "rev-parse", "--show-toplevel")
    if answer.printed is None:
        return _without_repository(folder, base, answer)
    root = Path(printed_path(answer))
    notes: list[str] = []
    commit, branch = _find_commit(folder, root, environment, notes)
    changed = _uncommitted(folder)
    is_dirty = bool(changed)
    if is_dirty:
        named = ", ".join(changed[:_MOST_NAMED]) + (" and others" if len(changed) > _MOST_NAMED else "")
        notes.append(f"files differ from the commit ({named}): what is checked is what lies in the folder")
    notes += _missing_submodules(root, folder)
    name, found, tip = _find_base(folder, base, environment, commit, notes)
    is_clean = not is_dirty and not _uncommitted(root)
    if is_clean and commit is not None and commit == found == tip:
        notes.append(f"the commit is that of {name}: there is no change of it to compare")
    return GitFacts(
        root=root,
        prefix=printed_path(ask_git(folder, "rev-parse", "--show-prefix")),
        commit=commit,
        tree=git(folder, "rev-parse", "HEAD^{tree}") if is_clean else None,
        branch=branch,
        is_dirty=is_dirty,
        base_name=name,
        base=found,
        base_tip=tip,
        notes=notes,
    )


def _find_commit(
    folder: Path, root: Path, environment: Mapping[str, str], notes: list[str]
) -> tuple[str | None, str | None]:
    """The commit that is checked out, and its branch."""
    commit = find_head(folder)
    branch = git(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    if commit is None:
        if named := git(folder, "rev-parse", "--verify", "--quiet", "HEAD"):
            raise BadInput(
                f"git can't read commit {named[:12]} of {root}: the repository is damaged. `git fsck` tells what is "
                "missing; clone it again"
            )
        notes.append("the repository has no commit yet: there is nothing to compare with")
    elif branch is None:
        branch = next((environment[name] for name in _BRANCH_VARIABLES if environment.get(name)), None)
        if branch is None:
            notes.append("the head is detached: the change has a commit and no branch")
    return commit, branch


def _without_repository(folder: Path, base: str | None, answer: GitAnswer) -> GitFacts:
    """What is known of a folder for which git names no repository; BadInput where there is one that it can't use."""
    held = _held_repository(folder)
    if answer.is_installed and held is not None:
        if "dubious ownership" in answer.problem:
            raise BadInput(
                f"git refuses the repository {held}: it belongs to another user. `git config --global --add "
                f"safe.directory {shlex.quote(str(held))}` says that you trust it",
                folder=str(held),
            )
        if (planted := find_planted(folder)) is not None:
            raise BadInput(planted_words(planted), folder=str(planted))
        words = answer.problem.removeprefix("fatal: ").splitlines()[:1]
        raise BadInput(
            f"git can't read the repository {held}: {' '.join(words)}. Mend or remove {held / '.git'}",
            folder=str(held),
        )
    why = "no Git repository" if answer.is_installed else answer.problem
    if base is not None:
        raise BadInput(f"{folder}: {why}, so there is no {base} to compare with")
    return GitFacts(notes=[f"{why}: there is no commit to name and no base to compare with"])


def _held_repository(folder: Path) -> Path | None:
    """The nearest folder upwards with something called `.git`, as far up as git itself looks."""
    ceilings = os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    start = folder.resolve()
    for place in (start, *start.parents):
        if place != start and str(place) in ceilings:
            return None
        if os.path.lexists(place / ".git"):
            return place
    return None


def _missing_submodules(root: Path, folder: Path) -> list[str]:
    """Which submodules below the project's folder lack their files, with what fetches them."""
    if not (root / ".gitmodules").is_file():
        return []
    found = [path for path, _ in _links(folder, "ls-files", "--stage", "-z", "--", ".")]
    return [
        f"submodule {path} is not in this clone, and what the project needs of it is missing: `git submodule update "
        "--init` fetches it"
        for path in found
        if not (folder / path / ".git").exists()
    ]


def _links(folder: Path, *listing: str) -> list[tuple[str, list[str]]]:
    """Path and facts of each submodule that git lists, as the tree or index has it."""
    listed = (ask_git(folder, *listing).printed or b"").split(b"\0")
    parted = [entry.partition(b"\t") for entry in listed if entry.startswith(b"160000 ")]
    return [(os.fsdecode(path), head.decode().split()) for head, _, path in parted]


def _uncommitted(folder: Path) -> list[str]:
    """What differs from the commit below a folder, homes left out; paths from the root, as Git quotes them."""
    lines = (git(folder, "status", "--porcelain", "--", ".", NO_HOMES) or "").splitlines()
    return [line.split(maxsplit=1)[1] for line in lines]


def _find_base(
    folder: Path, asked: str | None, environment: Mapping[str, str], commit: str | None, notes: list[str]
) -> tuple[str | None, str | None, str | None]:
    """Name of the base, the commit where the change left it, and its newest commit."""
    named = asked or next((environment[name] for name in _BASE_VARIABLES if environment.get(name)), None)
    named = named.removeprefix("refs/heads/") if named else _default_branch(folder)
    if named is None:
        notes.append("no base branch is known: name one by --base, or let origin have a default branch")
        return None, None, None
    tip = None if named.startswith("-") else _commit_of(folder, named)
    shallow = git(folder, "rev-parse", "--is-shallow-repository") == "true"
    if tip is None:
        if asked is not None and not shallow and not is_whole_id(asked):
            raise BadInput(
                f"there is no branch, tag or commit {asked!r} in this repository; `git fetch` it", base=asked
            )
        notes.append(_missing_base(named, shallow))
        return named, None, None
    merge_base = None if commit is None else git(folder, "merge-base", commit, tip)
    if merge_base is None:
        why = "the clone is shallow" if shallow else "they have no commit in common"
        notes.append(
            f"where the change left {named} can't be told ({why}); it is compared with {named} itself"
        )
        return named, tip, tip
    return named, merge_base, tip


def is_whole_id(name: str) -> bool:
    """Whether a name of a commit is its id, all of it: what hosts hand over, whatever became of the commit."""
    return _WHOLE_ID.fullmatch(name) is not None


def _missing_base(named: str, shallow: bool) -> str:
    if set(named) == {"0"}:
        return "the host names no commit before this one: the branch is new"
    if is_whole_id(named) and not shallow:
        return f"commit {named[:12]} is not in this clone: a force-push may have replaced it"
    return (
        f"base {'commit' if is_whole_id(named) else 'branch'} {named} is not in this clone"
        + (" (it is shallow)" if shallow else "")
        + ": fetch it (fetch-depth: 0) to compare with it"
    )


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

    Submodules are those of the base where this clone has their commits. The folder becomes a repository of its own, so
    that the same files count as source there as in a clean clone. Raises Unavailable where git can't give the files.
    """
    assert facts.root is not None and facts.base is not None
    notes = _unpack(facts.root, facts.base, folder)
    if any(_is_pointer(path) for path in folder.rglob("*")):
        notes.append("files of the base that Git LFS keeps are pointers: what it needs of them is missing")
    git(folder, "init", "--quiet", ".")
    git(folder, "add", "--all", "--force", ".")
    return notes


def _unpack(root: Path, commit: str, folder: Path) -> list[str]:
    """The files of a commit and of its submodules into a folder; which could not be written."""
    answer = ask_git(root, "archive", "--format=tar", commit)
    if answer.printed is None:
        raise Unavailable(f"git can't give the files of {commit[:12]}: {answer.problem}")
    notes: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(answer.printed)) as tar:
        for member in tar:
            try:
                tar.extract(member, folder, filter="data")
            except tarfile.FilterError:
                notes.append(f"{member.name} of the base leads out of the repository and is left out")
    for path, (_, _, wanted) in _links(root, "ls-tree", "-r", "-z", commit):
        # A folder without a repository of its own would answer for the one that it lies in.
        if (root / path / ".git").exists() and git(root / path, "cat-file", "-e", wanted) is not None:
            notes += _unpack(root / path, wanted, folder / path)
        else:
            notes.append(f"submodule {path} of the base is not in this clone: what it needs of it is missing")
    return notes


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 1024:
        return False
    return path.read_bytes().startswith(LFS_HEAD)
