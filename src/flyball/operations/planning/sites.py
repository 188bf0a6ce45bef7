"""Where deployments go and where their versions come from: this home, or environments and what they take from."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.core.errors import BadInput
from flyball.core.settings import Settings
from flyball.operations.environments.deploying import check_apart
from flyball.operations.environments.places import Environment, choose_environment, open_environment
from flyball.operations.opening import Backends
from flyball.operations.planning.files import Asked
from flyball.pipelines.project_file import ProjectFile, find_project_file, read_project


@dataclass(frozen=True)
class Site:
    """Where one deployment goes. target, source: None for a home that nothing was deployed to yet.

    file: the project file whose settings hold, and whose section says what the environment is; None in this home where
    none is named.
    """

    target: Backends | None
    source: Backends | None
    environment: Environment | None
    file: ProjectFile | None


class Sites:
    """Opens homes as they are asked for, each once. A context manager, which closes what it opened."""

    def __init__(self, here: Backends) -> None:
        self._here = here
        self._open: dict[Settings, Backends] = {}
        self._files: dict[Path, ProjectFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Sites:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def site(self, asked: Asked, *, make: bool = False) -> Site:
        """Where a deployment goes. make: the environment's home too, where it is not there yet.

        Raises BadInput for an environment that the project file lacks, for one behind a control plane's address, and
        for one that is its own source.
        """
        file = self._file(asked)
        if asked.environment is None:
            return Site(self._here, self._here, None, file)
        assert file is not None
        environment = choose_environment(file, asked.environment, os.environ)
        before = environment.section.after
        target = self._home(environment, make=make)
        source = self._here if before is None else self._find(file, before)
        if source is not None and target is not None:
            check_apart(source, target, environment)
        return Site(target, source, environment, file)

    def followed(self, asked: Asked) -> Backends | None:
        """The home whose champion a deployment follows, None for one that nothing was deployed to yet."""
        assert asked.follows is not None
        file = self._file(asked) or self._nearest_file(asked)
        return self._find(file, asked.follows)

    def depth(self, asked: Asked) -> int:
        """How many environments come before where a deployment goes, by what it follows or comes after."""
        if asked.environment is None and asked.follows is None:
            return 0
        file = self._file(asked) or self._nearest_file(asked)
        own = [] if asked.environment is None else self._before(file, asked.environment)
        other = [] if asked.follows is None else [asked.follows, *self._before(file, asked.follows)]
        return max(len(own), len(other))

    def _before(self, file: ProjectFile, name: str) -> list[str]:
        """The environments that one comes after, the nearest first."""
        found: list[str] = []
        while (name := choose_environment(file, name, os.environ).section.after or "") and name not in found:
            found.append(name)
        return found

    def _find(self, file: ProjectFile, name: str) -> Backends | None:
        """The home of an environment, None for one that nothing was deployed to yet."""
        return self._home(choose_environment(file, name, os.environ), make=False)

    def _home(self, environment: Environment, *, make: bool) -> Backends | None:
        settings = environment.settings
        if settings is not None and settings in self._open:
            return self._open[settings]
        if not make and settings is not None and not environment.exists:
            return None
        opened = open_environment(environment, make=make, clock=self._here.clock)
        backends = self._stack.enter_context(opened)
        self._open[backends.settings] = backends
        return backends

    def _file(self, asked: Asked) -> ProjectFile | None:
        if asked.project is not None:
            return self._read_own(asked, find_project_file(asked.project))
        return None if asked.environment is None else self._nearest_file(asked)

    def _nearest_file(self, asked: Asked) -> ProjectFile:
        """The project file of the working folder, which says where environments are."""
        try:
            found = find_project_file(Path.cwd())
        except BadInput as error:
            raise _nameless(asked, "no flyball.toml here says where environments are") from error
        return self._read_own(asked, found)

    def _read_own(self, asked: Asked, path: Path) -> ProjectFile:
        if path not in self._files:
            self._files[path] = read_project(path, environment=os.environ)
        file = self._files[path]
        if file.project.model.name != asked.model:
            raise _nameless(asked, f"{_short(path)} is the project of {file.project.model.name}")
        return file


def _nameless(asked: Asked, problem: str) -> BadInput:
    facts: dict[str, Any] = {"file": asked.file, "line": asked.line}
    return BadInput(
        f'{asked.file}:{asked.line}: {problem}; name the folder of {asked.model} by project = "…"', **facts
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
