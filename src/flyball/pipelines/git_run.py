"""Git as a child process: what it prints, or why it printed nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

_SECONDS = 120.0


class GitAnswer(msgspec.Struct, frozen=True):
    """What git printed; `printed` is None where it failed, and `problem` says why in its own words."""

    printed: bytes | None
    problem: str = ""
    is_installed: bool = True


def ask_git(folder: Path, *arguments: str, told: bytes | None = None) -> GitAnswer:
    """Run git in a folder. told: what it reads from standard input.

    Not where git would take files of a change for a repository: its settings name programs, which git would run.
    """
    if (planted := find_planted(folder)) is not None:
        return GitAnswer(None, planted_words(planted))
    # A hook that calls this sets GIT_DIR and GIT_INDEX_FILE, which would lead away from the folder.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept = {name: os.environ[name] for name in ("GIT_CEILING_DIRECTORIES",) if name in os.environ}
    try:
        done = subprocess.run(
            ["git", "-c", "safe.bareRepository=explicit", "-C", str(folder), *arguments],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            input=told or b"",
            env={**clean, **kept, **_lfs(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return GitAnswer(None, "git is not installed", is_installed=False)
    except subprocess.TimeoutExpired:
        return GitAnswer(None, f"git {arguments[0]} had not ended after {_SECONDS:g} s")
    if done.returncode != 0:
        return GitAnswer(None, done.stderr.decode(errors="replace").strip())
    return GitAnswer(done.stdout)


def _lfs() -> dict[str, str]:
    """Git LFS fetches from where a file of the working tree says, and that may be a stranger's (FLYBALL_CACHE=read)."""
    return {"GIT_LFS_SKIP_SMUDGE": "1"} if os.environ.get("FLYBALL_CACHE") == "read" else {}


def find_planted(folder: Path) -> Path | None:
    """The folder at or above this one that git would take for a repository though it has no `.git`; None for none.

    `safe.bareRepository` says the same to git 2.38 and later.
    """
    for place in (start := folder.resolve(), *start.parents):
        if os.path.lexists(place / ".git"):
            return None
        if os.path.lexists(place / "HEAD") and any(
            (place / name).exists() for name in ("objects", "commondir")
        ):
            return place
    return None


def planted_words(place: Path) -> str:
    """What to say of such a folder."""
    return (
        f"{place} holds HEAD and objects, so git takes it for a repository of its own, and runs what its config names; "
        "rename or remove them"
    )


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None where it fails, is not installed, or the folder is in no repository."""
    printed = ask_git(folder, *arguments).printed
    return None if printed is None else printed.decode(errors="replace").strip()


def printed_path(answer: GitAnswer) -> str:
    """The path that git printed, as the file system has it: its first or last character may be a space."""
    return os.fsdecode(answer.printed or b"").removesuffix("\n")


def find_repository(folder: Path) -> Path | None:
    """The root of the repository that a folder lies in; None where git knows of none."""
    answer = ask_git(folder, "rev-parse", "--show-toplevel")
    return None if answer.printed is None else Path(printed_path(answer))


def find_head(folder: Path) -> str | None:
    """The commit that is checked out; None in no repository, and in one without commits."""
    return git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
