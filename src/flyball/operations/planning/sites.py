"""Where deployments go and where their versions come from: this home, or environments and what they take from."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from flyball.core.errors import Unavailable
from flyball.core.settings import Settings
from flyball.operations.environments.deploying import check_apart
from flyball.operations.environments.places import (
    Environment,
    choose_environment,
    name_lasting,
    open_environment,
)
from flyball.operations.opening import Backends
from flyball.operations.planning.files import Asked
from flyball.operations.planning.projects import ProjectFiles
from flyball.operations.runners import is_on_runner
from flyball.pipelines.project_file import ProjectFile


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
        self._projects = ProjectFiles()
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
        file = self._projects.of(asked)
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
        file = self._projects.get(asked)
        return self._find(file, asked.follows)

    def depth(self, asked: Asked) -> int:
        """How many environments come before where a deployment goes, by what it follows or comes after."""
        if asked.environment is None and asked.follows is None:
            return 0
        file = self._projects.get(asked)
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
        if settings is not None and not environment.exists:
            if is_on_runner(os.environ) and (variable := name_lasting(environment, os.environ)) is not None:
                # An empty home would be taken for one that nothing was deployed to, and be gone with the job.
                raise Unavailable(
                    f"this job does not know where {environment.name} is: {variable} is not set",
                    environment=environment.name,
                )
            if not make:
                return None
        opened = open_environment(environment, make=make, clock=self._here.clock)
        backends = self._stack.enter_context(opened)
        self._open[backends.settings] = backends
        return backends
