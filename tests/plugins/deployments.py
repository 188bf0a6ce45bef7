"""A repository whose files say what is in service, for tests of `flyball plan` and `flyball apply`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flyball.core.values import Actor
from flyball.registry.route_table import find_next

GRACE = Actor("grace", "person", "local:4711")
AT_ONCE = '\n[environments.{}.rollout]\nstrategy = "immediate"\n'


class Repository:
    """The staged project as a Git repository with a file of deployments for each environment."""

    def __init__(self, staged: Any) -> None:
        self.staged = staged
        self.folder: Path = staged.folder
        project = self.folder / "flyball.toml"
        project.write_text(project.read_text() + AT_ONCE.format("staging") + AT_ONCE.format("production"))
        (self.folder / ".gitignore").write_text(".flyball/\n")
        (self.folder / "deployments").mkdir()
        self.git("init", "-q", "-b", "main")
        self.first, self.second = staged.digest("plant@1"), staged.digest("plant@2")

    def git(self, *arguments: str) -> str:
        # By name, because this file is loaded before that of repositories.
        return str(sys.modules["flyball_tests_repositories"].git(self.folder, *arguments))

    def commit(self, message: str, **files: str) -> str:
        """Write files of deployments and commit them; the commit."""
        for name, text in files.items():
            (self.folder / "deployments" / f"{name}.toml").write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def plan(self, *names: str, code: int = 0, more: tuple[str, ...] = ()) -> Any:
        return self._changes("plan", *names, code=code, more=more)["planned"]

    def apply(self, *names: str, code: int = 0, more: tuple[str, ...] = ()) -> Any:
        return self._changes("apply", *names, code=code, more=more)["outcomes"]

    def two_steps(self) -> None:
        """The first version in staging, where others follow by a canary."""
        project = self.folder / "flyball.toml"
        project.write_text(project.read_text().replace('"immediate"', '"canary"'))
        self.commit("the first", staging=deployment("staging", self.first))
        self.apply("staging")
        self.commit("the second", staging=deployment("staging", self.second))
        self.apply("staging")

    def _changes(self, verb: str, *names: str, code: int, more: tuple[str, ...]) -> Any:
        return self.staged.json(verb, *(f"deployments/{name}.toml" for name in names), *more, code=code)

    def kinds(self, *names: str) -> list[str]:
        return [planned["change"]["kind"] for planned in self.plan(*names)]

    def serving(self, name: str) -> str | None:
        """The digest that an environment's model servers are told to load."""
        with self.staged.opened(name) as app:
            revision, table = 0, None
            while (found := find_next(app.backends.blobs, "plant", revision)) is not None:
                revision, table = found.revision, found
            return table.champion.bundle if table and table.champion else None


def deployment(environment: str | None, version: str, more: str = "") -> str:
    """A file that asks for a version of plant in an environment, or in this home."""
    head = "" if environment is None else f'environment = "{environment}"\n'
    return f'{head}[deployments.plant]\nversion = "{version}"\n{more}'


@pytest.fixture
def repository(staged: Any) -> Repository:
    """The staged project in a repository of its own."""
    return Repository(staged)
