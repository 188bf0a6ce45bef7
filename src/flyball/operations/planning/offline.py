"""Deployments files held against the project files of their repository alone: no home is opened, nothing is asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flyball.operations.environments.places import choose_environment
from flyball.operations.planning.files import read_files
from flyball.operations.planning.projects import ProjectFiles


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What a file asks for one model of one environment (None: this home), and where."""

    environment: str | None
    model: str
    version: str
    file: str
    line: int


def read_named(paths: Sequence[Path]) -> list[Named]:
    """What files ask for, by environment and model. Raises as `read_files`, and for environments that there are not."""
    projects = ProjectFiles()
    asked = [one for file in read_files(paths) for one in file.asked]
    for one in asked:
        file = projects.of(one)
        for name in (one.environment, one.follows):
            if name is not None:
                choose_environment(file or projects.get(one), name, os.environ)
    return [
        Named(
            environment=one.environment,
            model=one.model,
            version=f"sha256:{one.prefix}" if one.prefix else f"champion of {one.follows}",
            file=one.file,
            line=one.line,
        )
        for one in sorted(asked, key=lambda one: (one.environment or "", one.model))
    ]
