"""Which Flyball a command talks to: the home on this machine, an environment, or a control plane elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import progress
from flyball.core.errors import BadInput, NotFound, Refused
from flyball.core.home import find_distant_home, find_home

# What changes a registry: which versions there are, what people said of them, what is in service, or what is to be.
CHANGES = frozenset(
    (
        *("deploy", "rollback", "approve", "reject", "apply", "retrain", "monitor", "migrate"),
        *("rollout pause", "rollout resume", "rollout promote", "rollout abort"),
        *("ci deploy", "ci propose", "runs cancel"),
    )
)


def refuse_changes() -> None:
    """Raises Refused for a command that changes a registry, in a job that was told to only read (FLYBALL_CACHE)."""
    context = click.get_current_context(silent=True)
    command = "" if context is None else context.command_path.partition(" ")[2]
    if os.environ.get("FLYBALL_CACHE") == "read" and command in CHANGES:
        raise Refused(
            f"FLYBALL_CACHE=read says that this job only reads, and `flyball {command}` changes a registry: nothing "
            "was done. Run it in a job of your team's own"
        )


@contextmanager
def open_flyball(environment: str | None = None) -> Iterator[Any]:
    """The Flyball of the working folder, or the one FLYBALL_URL (with FLYBALL_TOKEN) names.

    environment: name of one of the project file, which is opened instead: in place, or by its address and
    FLYBALL_<NAME>_TOKEN. Raises NotFound where there is neither a home nor a project, and for an environment that
    nothing was deployed to, so that looking around leaves nothing behind.
    """
    refuse_changes()
    if environment is not None:
        with _open_environment(environment) as app:
            yield app
    elif url := os.environ.get("FLYBALL_URL"):
        from flyball.client import Client

        with Client(url, os.environ.get("FLYBALL_TOKEN")) as client:
            yield client
    else:
        with open_home() as app:
            yield app


@contextmanager
def _open_environment(name: str) -> Iterator[Any]:
    from flyball.app import open_environment
    from flyball.cli.environment import find

    found = find(name)
    if found.url is None:
        with open_environment(found) as app:
            yield app
        return
    from flyball.client import Client
    from flyball.operations.environments.places import variable_of

    with Client(found.url, os.environ.get(variable_of(name, "TOKEN")), name=name) as client:
        yield client


@contextmanager
def open_home(environment: str | None = None) -> Iterator[Any]:
    """The home of the working folder, or of an environment in place, for what is done in place only.

    Raises NotFound where there is none, BadInput with FLYBALL_URL set or for an environment behind an address.
    """
    refuse_changes()
    if environment is not None:
        from flyball.app import open_environment
        from flyball.cli.environment import find

        with open_environment(find(environment)) as app:
            yield app
        return
    if os.environ.get("FLYBALL_URL"):
        raise BadInput(
            "this is done in place, and FLYBALL_URL names a control plane elsewhere; run it there, or unset FLYBALL_URL"
        )
    here = Path.cwd()
    home = find_home(here, os.environ)
    given = os.environ.get("FLYBALL_HOME") or os.environ.get("FLYBALL_DATABASE")
    if not given and not home.is_dir() and not _is_project(here):
        raise NotFound(
            f"there is no home of Flyball in {here} or above it; `flyball init` makes a project, FLYBALL_HOME names a "
            "home elsewhere",
            folder=str(here),
        )
    from flyball.app import open_app

    with open_app() as app:
        yield app


def tell_home(folder: Path | None = None) -> None:
    """Say on standard error where the home of a folder is, when it is not where one would look. Raises BadInput."""
    if os.environ.get("FLYBALL_URL"):
        return
    home = find_distant_home(folder or Path.cwd(), os.environ)
    if home is not None:
        progress(f"the home is {home}")


def _is_project(folder: Path) -> bool:
    return any((place / "flyball.toml").is_file() for place in (folder, *folder.parents))
