"""The option `--env`, which commands share: an environment of the project file instead of this home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flyball.operations.environments.places import Environment

environment_option = click.option(
    "--env",
    "environment",
    metavar="NAME",
    default=None,
    help="An environment of flyball.toml instead of this home.",
)


def find(name: str) -> Environment:
    """The environment of that name in the project file of the working folder. Raises BadInput, ProjectError."""
    from flyball.operations.environments.places import find_environment

    return find_environment(Path.cwd(), name, os.environ)


def enter(name: str) -> int:
    """Make an environment the home of this process and of those it starts; its rank in the file, from 0.

    Raises BadInput for a control plane's address: what is there runs there.
    """
    from flyball.core.errors import BadInput

    found = find(name)
    if found.settings is None:
        raise BadInput(
            f"{name} is the control plane at {found.place}; start its processes on that machine",
            environment=name,
        )
    os.environ["FLYBALL_HOME"] = str(found.settings.home)
    os.environ["FLYBALL_DATABASE"] = found.settings.database_url
    os.environ["FLYBALL_OBJECTS"] = found.settings.objects_url
    return int(found.rank)
