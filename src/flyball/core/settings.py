"""Where state lives: the home and the URLs, from flags, environment and defaults, in this order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec

from flyball.core.errors import BadInput
from flyball.core.home import find_home

CacheUse = Literal["read-write", "read", "off"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The home and what its URLs choose. `home` is absolute; the URLs never contain a secret when printed.

    cache: whether steps of runs use what earlier runs gave, and keep what they give. `read` keeps nothing, which is
    for changes of strangers: what they put under a name would be taken for the result of somebody else's code.
    """

    home: Path
    database_url: str
    objects_url: str
    executor_url: str = "local"
    cache: CacheUse = "read-write"

    @property
    def state_paths(self) -> list[str]:
        """What holds state on this machine: the home, and database and objects where they lie outside of it."""
        paths = [str(self.home)]
        if self.database_url.startswith("sqlite:///"):
            file = self.database_url.removeprefix("sqlite:///")
            paths += [file, f"{file}-wal", f"{file}-shm"]
        if self.objects_url.startswith("file://"):
            paths.append(self.objects_url.removeprefix("file://"))
        return paths

    @property
    def spool_folder(self) -> Path:
        """Segments of the prediction log that are not shipped yet."""
        return self.home / "spool"

    @property
    def cache_folder(self) -> Path:
        """Bundles verified by digest, and the last route tables of the model server."""
        return self.home / "cache"

    @property
    def runs_folder(self) -> Path:
        """Working folders and logs of runs."""
        return self.home / "runs"

    @property
    def log_folder(self) -> Path:
        """What the long-running processes print."""
        return self.home / "logs"


def read_settings(start: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that hold in a folder. Raises BadInput for what none of them may be."""
    environment = os.environ if environment is None else environment
    home = find_home(start or Path.cwd(), environment)
    executor_url = environment.get("FLYBALL_EXECUTOR") or "local"
    settings = settings_at(home, environment.get("FLYBALL_DATABASE"), environment.get("FLYBALL_OBJECTS"))
    if executor_url != "local":
        raise BadInput(
            "FLYBALL_EXECUTOR may be: local; training runs on this machine in this release",
            setting="FLYBALL_EXECUTOR",
        )
    cache = _read_cache(environment.get("FLYBALL_CACHE") or "read-write")
    return msgspec.structs.replace(settings, executor_url=executor_url, cache=cache)


def settings_at(
    home: Path, database_url: str | None, objects_url: str | None, *, prefix: str = "FLYBALL_"
) -> Settings:
    """The settings of a home, in which lies what no URL names. prefix: of the variables that gave the URLs.

    Raises BadInput for a URL of another kind.
    """
    database_url = database_url or f"sqlite:///{home / 'flyball.db'}"
    objects_url = objects_url or f"file://{home / 'objects'}"
    databases = ("sqlite:///", "postgresql://", "postgresql+psycopg://")
    _check_scheme(f"{prefix}DATABASE", database_url, databases)
    _check_scheme(f"{prefix}OBJECTS", objects_url, ("file:///", "s3://", "gs://", "az://"))
    return Settings(home=home, database_url=database_url, objects_url=objects_url)


def _read_cache(text: str) -> CacheUse:
    for known in get_args(CacheUse):
        if text == known:
            return known  # type: ignore[no-any-return]  # the arguments of a Literal are its values
    raise BadInput(
        f"FLYBALL_CACHE is {text[:40]!r}; it may be {', '.join(get_args(CacheUse))}", setting="FLYBALL_CACHE"
    )


def _check_scheme(name: str, url: str, schemes: tuple[str, ...]) -> None:
    if not url.startswith(schemes):
        # Never the rest of it: a password may stand there.
        kind = repr(url.split("://", 1)[0][:40]) if "://" in url else "no scheme"
        raise BadInput(
            f"{name} starts with {kind}; it must start with one of {', '.join(schemes)}", setting=name
        )
