"""A project with two environments, of which production takes only what is champion in staging, and its commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECTIONS = """
[environments.staging]
[environments.production]
after = "staging"
approvals = 1
"""


class Staged:
    """A project folder whose home has two versions, and the `flyball` command in it, run in this process."""

    def __init__(self, folder: Path, command: Callable[..., Any]) -> None:
        self.folder = folder
        self.home = folder / ".flyball"
        self._command = command

    def say(self, *arguments: str, code: int = 0) -> Any:
        """How a command ended, which has to be with this exit code."""
        said = self._command(*arguments, cwd=self.folder)
        assert said.code == code, f"{arguments} ended with {said.code}: {said.err}{said.out}"
        return said

    def json(self, *arguments: str, code: int = 0) -> Any:
        return self.say(*arguments, "--json", code=code).json()

    def digest(self, ref: str, *arguments: str) -> str:
        """Of the bytes of a version."""
        return str(self.json("show", ref, *arguments)["version"]["digest"])

    def champion(self, name: str) -> int | None:
        """The number of an environment's champion."""
        found = {model["name"]: model["champion"] for model in self.json("models", "--env", name)}
        return found.get("plant")

    def path_of(self, name: str) -> Path:
        """The home of an environment that no variable places."""
        return self.home / "environments" / name

    def approve(self, name: str, ref: str) -> None:
        """Another person's yes in an environment."""
        from flyball.core.values import Actor

        with self.opened(name) as app:
            app.approve(ref, why="looked at the slices", actor=Actor("grace", "person", "local:4711"))

    def turn(self, name: str) -> None:
        """What an environment's controller makes of the news."""
        from flyball.delivery import candidates
        from flyball.operations.publishing import publish_now

        with self.opened(name) as app:
            candidates.consume(app.backends.database, app.backends.blobs, app.backends.clock)
            publish_now(app.backends)

    def opened(self, name: str) -> Any:
        """An environment's Flyball object, as a context."""
        import os

        from flyball.app import open_environment
        from flyball.operations.environments.places import find_environment

        return open_environment(find_environment(self.folder, name, os.environ))


@pytest.fixture
def staged(served_home: Path, tmp_path: Path, command: Callable[..., Any]) -> Staged:
    """As `served`, with environments staging and production to which nothing was deployed yet."""
    folder = tmp_path / "plant"
    shutil.copytree(served_home, folder, dirs_exist_ok=True)
    project = folder / "flyball.toml"
    project.write_text(project.read_text() + SECTIONS)
    return Staged(folder, command)
