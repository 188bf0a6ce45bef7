"""Every value of a project, where it came from, and why a default is what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from flyball.core.project import Project
from flyball.pipelines.default_reasons import REASONS
from flyball.pipelines.positions import dotted
from flyball.pipelines.project_file import ProjectFile
from flyball.pipelines.shape import known_keys


class ExplainedValue(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: dotted key, value as plain data, origin, and the reason where the origin is "default"."""

    key: str
    value: Any
    origin: str
    reason: str | None = None


def explain(file: ProjectFile) -> list[ExplainedValue]:
    """Every value that holds, in the order of the file's sections.

    origin: "flyball.toml:LINE", "flag", "environment variable NAME", "environments.NAME" or "default". A default that
    depends on other settings is shown as it works out here.
    """
    return [
        _explained(file, key, value)
        for key, value in _walk(file.project, ())
        # what an environment's rollout leaves open is taken from [rollout], not from the defaults
        if key in file.origins or not (key.startswith("environments.") and ".rollout." in key)
    ]


def effective_split(project: Project) -> str:
    """How rows are divided: as asked, else by time where the project has a time column, else at random."""
    return project.data.split.by or ("time" if project.model.time is not None else "random")


def effective_threshold(project: Project) -> float | None:
    """The probability from which the positive class is decided; None where nothing is decided by one.

    With costs it is the threshold of least expected cost, fp / (fp + fn) (Elkan, 2001, IJCAI 17).
    """
    if project.model.task != "binary":
        return None
    decision = project.decision
    if decision.cost is not None:
        return decision.cost.false_positive / (decision.cost.false_positive + decision.cost.false_negative)
    return 0.5 if decision.threshold is None else decision.threshold


def _walk(section: msgspec.Struct, path: tuple[str | int, ...]) -> Iterator[tuple[str, Any]]:
    for key, field in known_keys(type(section)).items():
        value = getattr(section, field.name)
        here = (*path, key)
        if isinstance(value, msgspec.Struct):
            yield from _walk(value, here)
        elif isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
            for number, item in enumerate(value):
                yield from _walk(item, (*here, number))
        elif isinstance(value, dict) and value and isinstance(next(iter(value.values())), msgspec.Struct):
            for name, item in value.items():
                yield from _walk(item, (*here, name))
        else:
            yield dotted(here), value


def _explained(file: ProjectFile, key: str, value: Any) -> ExplainedValue:
    origin = file.origins.get(key)
    plain = msgspec.to_builtins(value)
    if origin is None:
        return ExplainedValue(
            key=key, value=_worked_out(file.project, key, plain), origin="default", reason=_reason(key)
        )
    if origin == "file":
        origin = f"{file.path.name}:{file.lines.get(key, 1)}"
    return ExplainedValue(key=key, value=plain, origin=origin)


def _worked_out(project: Project, key: str, value: Any) -> Any:
    if key == "data.split.by":
        return effective_split(project)
    if key == "decision.threshold":
        return effective_threshold(project)
    return value


def _reason(key: str) -> str:
    return REASONS.get(general_key(key), "not set")


def general_key(key: str) -> str:
    """A key without indexes and without the free names of columns and environments.

    >>> general_key("contract.features.age.min"), general_key("gates[0].confidence")
    ('contract.features.min', 'gates.confidence')
    """
    parts = [part.split("[")[0] for part in key.split(".")]
    if parts[:2] == ["contract", "features"]:
        parts[2:-1] = []
    elif parts[0] == "environments":
        parts[1:2] = []
    return ".".join(parts)
