"""Git repositories for tests: git as somebody, and a commit of everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOMEBODY = (
    "user.name=A Person",
    "user.email=person@example.org",
    "commit.gpgsign=false",
    "protocol.file.allow=always",
)


def git(folder: Path, *arguments: str) -> str:
    """What git prints, stripped; it has to succeed."""
    settings = [part for setting in _SOMEBODY for part in ("-c", setting)]
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    """Commit everything that lies there; the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a commit")
    return git(folder, "rev-parse", "HEAD")
