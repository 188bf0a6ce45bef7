"""Where the environments of a project are: each a home of its own in place, or a control plane behind an address.

First match: the variables `FLYBALL_<NAME>_URL`; `FLYBALL_<NAME>_HOME`, `_DATABASE`, `_OBJECTS`; `url` of the section;
a folder below this home. Two of them never share a database, for what happens in one must not touch the other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from flyball.core.clock import Clock
from flyball.core.errors import BadInput, FlyballError, NotFound
from flyball.core.project import EnvironmentSection
from flyball.core.settings import Settings, read_settings, settings_at
from flyball.operations.opening import Backends, open_backends
from flyball.pipelines.project_file import ProjectFile, read_project

FOLDER = "environments"
VARIABLE_KEYS = ("HOME", "DATABASE", "OBJECTS", "URL", "TOKEN")
_OWN_KEYS = VARIABLE_KEYS[:3]


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment of a project file. `rank`: its place there, from 0.

    settings: of its home, None where `url` is the address of its control plane.
    """

    name: str
    section: EnvironmentSection
    rank: int
    settings: Settings | None = None
    url: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for people; without passwords."""
        if self.url is not None:
            address = urlsplit(self.url)
            return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
        assert self.settings is not None
        url = self.settings.database_url
        if url.startswith("sqlite:///"):
            return str(self.settings.home)
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"

    @property
    def exists(self) -> bool:
        """Whether anything can have been deployed here; what lies on a server is taken to be there."""
        if self.settings is None or not self.settings.database_url.startswith("sqlite:///"):
            return True
        return Path(self.settings.database_url.removeprefix("sqlite:///")).is_file()


def variable_of(name: str, key: str) -> str:
    """The environment variable of an environment.

    >>> variable_of("eu-west", "URL").removeprefix("FLYBALL_")
    'EU_WEST_URL'
    """
    return f"FLYBALL_{name.upper().replace('-', '_')}_{key}"


def name_lasting(environment: Environment, variables: Mapping[str, str]) -> str | None:
    """The variable that has to name a database, for an environment that otherwise lies in the home of a job; else None.

    >>> here = Environment(name="eu", section=EnvironmentSection(), rank=0)
    >>> name_lasting(here, {}) == variable_of("eu", "DATABASE")
    True
    >>> name_lasting(here, {variable_of("eu", "HOME"): "/srv/eu"})
    """
    given = any(variables.get(variable_of(environment.name, key)) for key in ("DATABASE", "HOME"))
    return None if environment.url is not None or given else variable_of(environment.name, "DATABASE")


def list_environments(file: ProjectFile, variables: Mapping[str, str]) -> list[Environment]:
    """The environments of a project file in its order. Raises BadInput for two in one place."""
    here = read_settings(file.folder, variables)
    found = [
        _locate(name, section, rank, here, variables)
        for rank, (name, section) in enumerate(file.project.environments.items())
    ]
    _check_apart(found, here)
    return found


def find_environment(start: Path, name: str, variables: Mapping[str, str]) -> Environment:
    """The environment of that name in the project file of a folder. Raises BadInput, which lists those there are."""
    return choose_environment(read_project(start, environment=variables), name, variables)


def choose_environment(file: ProjectFile, name: str, variables: Mapping[str, str]) -> Environment:
    """The environment of that name. Raises BadInput, which lists those there are."""
    found = {environment.name: environment for environment in list_environments(file, variables)}
    if name in found:
        return found[name]
    if not found:
        raise BadInput(
            f"{file.path} has no environments; a section [environments.{name}] makes one", environment=name
        )
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise BadInput(
        f"{file.path} has no environment {name!r}, it has {', '.join(found)}{hint}", environment=name
    )


@contextmanager
def open_environment(
    environment: Environment, *, make: bool = False, clock: Clock | None = None
) -> Iterator[Backends]:
    """The stores of an environment's home.

    make: whether one that is not there yet is made. Raises NotFound otherwise, BadInput for a control plane's address,
    and what is wrong with its stores, with the environment's name.
    """
    if environment.settings is None:
        raise BadInput(
            f"{environment.name} is the control plane at {environment.place}, and this is done in place; do it there, "
            f"or name its stores in {variable_of(environment.name, 'DATABASE')} and "
            f"{variable_of(environment.name, 'OBJECTS')}",
            environment=environment.name,
        )
    if not make and not environment.exists:
        raise NotFound(
            f"nothing was deployed to {environment.name} yet: there is no home {environment.place}; "
            f"`flyball deploy MODEL --env {environment.name}` makes it",
            environment=environment.name,
        )
    try:
        backends = open_backends(environment.settings, clock)
    except FlyballError as error:
        error.message = f"environment {environment.name}: {error.message}"
        error.args = (error.message,)
        raise
    try:
        yield backends
    finally:
        backends.close()


def _locate(
    name: str, section: EnvironmentSection, rank: int, here: Settings, variables: Mapping[str, str]
) -> Environment:
    own = {key: variables[found] for key in _OWN_KEYS if variables.get(found := variable_of(name, key))}
    url = variables.get(variable_of(name, "URL")) or (None if own else section.url)
    if url is not None:
        return Environment(name=name, section=section, rank=rank, url=url)
    home = Path(own["HOME"]).expanduser().resolve() if "HOME" in own else here.home / FOLDER / name
    prefix = variable_of(name, "")
    settings = settings_at(home, own.get("DATABASE"), own.get("OBJECTS"), prefix=prefix)
    return Environment(name=name, section=section, rank=rank, settings=settings)


def _check_apart(environments: list[Environment], here: Settings) -> None:
    """Objects may be those of this home, where they are copied to nowhere then; nothing else is shared."""
    taken: dict[tuple[str, str], str] = {}
    for kind, place in (("home", str(here.home)), ("database", here.database_url)):
        taken[kind, _resolved(place)] = "this home"
    for environment in environments:
        settings = environment.settings
        if settings is None:
            continue
        for kind, place in (
            ("home", str(settings.home)),
            ("database", settings.database_url),
            ("objects", settings.objects_url),
        ):
            if other := taken.get((kind, _resolved(place))):
                raise BadInput(
                    f"{environment.name} and {other} have the same {kind}; give each its own "
                    f"({variable_of(environment.name, kind.upper())}), so that one can't touch the other",
                    environment=environment.name,
                )
            taken[kind, _resolved(place)] = environment.name


def _resolved(place: str) -> str:
    """The same text for places that are the same on this machine."""
    if place.startswith("sqlite:///"):  # what follows may be relative to the working folder
        return f"sqlite:///{Path(place.removeprefix('sqlite:///')).resolve()}"
    scheme, separator, path = place.rpartition("://")
    return f"{scheme}{separator}{Path(path).resolve()}" if path.startswith("/") else place.rstrip("/")
