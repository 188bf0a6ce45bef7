"""The project files that say where environments are and which settings hold there, by what deployments files name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flyball.core.errors import BadInput
from flyball.operations.planning.files import Asked
from flyball.pipelines.named_projects import list_named
from flyball.pipelines.project_file import ProjectFile, find_project_file, read_project


class ProjectFiles:
    """Reads project files as they are asked for, each once."""

    def __init__(self) -> None:
        self._read: dict[Path, ProjectFile] = {}

    def of(self, asked: Asked) -> ProjectFile | None:
        """The project file whose settings are to hold; None in this home where none is named."""
        if asked.project is None and asked.environment is None:
            return None
        return self.get(asked)

    def get(self, asked: Asked) -> ProjectFile:
        """The project file of the model: of the folder that is named, that of the working folder if it is about the
        model, or the only one of the repository that is.

        Raises BadInput, with the place that asks, where there is none, several, or one of another model.
        """
        if asked.project is not None:
            return self._own(asked, find_project_file(asked.project))
        nearest = _find_nearest()
        if nearest is not None and self._file(nearest).project.model.name == asked.model:
            return self._file(nearest)
        named = list_named(asked.root, asked.model, with_new=True)
        if len(named) > 1:
            raise _nameless(asked, f"several project files are about {asked.model} ({', '.join(named)})")
        if named:
            return self._own(asked, (asked.root / named[0]).resolve())
        if nearest is not None:
            return self._own(asked, nearest)
        raise _nameless(asked, "no flyball.toml here, or of this repository, says where environments are")

    def _own(self, asked: Asked, path: Path) -> ProjectFile:
        file = self._file(path)
        if file.project.model.name != asked.model:
            raise _nameless(asked, f"{_short(path)} is the project of {file.project.model.name}")
        return file

    def _file(self, path: Path) -> ProjectFile:
        if path not in self._read:
            self._read[path] = read_project(path, environment=os.environ)
        return self._read[path]


def _find_nearest() -> Path | None:
    try:
        return find_project_file(Path.cwd())
    except BadInput:
        return None


def _nameless(asked: Asked, problem: str) -> BadInput:
    facts: dict[str, Any] = {"file": asked.file, "line": asked.line}
    return BadInput(
        f'{asked.file}:{asked.line}: {problem}; name the folder of {asked.model} by project = "…"', **facts
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
