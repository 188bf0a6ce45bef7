"""`flyball.toml` read into typed settings: flag > environment > environment section > file > default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from flyball.core.errors import BadInput
from flyball.core.project import EnvironmentSection, Project
from flyball.pipelines.positions import Lines, dotted
from flyball.pipelines.positions import Path as KeyPath
from flyball.pipelines.project_rules import broken_rules
from flyball.pipelines.shape import Fault, fill, known_keys, nearest, section_of
from flyball.pipelines.toml_file import faulty, parse, read_text

FILE_NAME = "flyball.toml"
VARIABLE_PREFIX = "FLYBALL__"
_OVERRIDABLE = ("rollout", "gates")


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True):
    """A project and where each of its values came from.

    `origins`: "file", "flag", "environment variable …" or "environments.…" by dotted key, for values that were
    given; whatever is absent is a default. `lines`: line in the file by dotted key.
    """

    project: Project
    path: Path
    folder: Path
    origins: dict[str, str]
    lines: dict[str, int]


def find_project_file(start: Path) -> Path:
    """The project file of a folder or of the nearest folder above it. Raises BadInput when there is none."""
    if start.is_file():
        return start.resolve()
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / FILE_NAME
        if path.is_file():
            return path
        if os.path.lexists(path):  # not looked for further up: this is the one that was meant
            is_link = path.is_symlink() and not path.exists()
            what = "is a folder" if path.is_dir() else "is no file"
            what = f"links to {os.readlink(path)}, which is not there" if is_link else what
            raise BadInput(f"{path} {what}; `flyball init` writes one where there is none", file=str(path))
    below = sorted(
        {
            path.parent.relative_to(start)
            for form in ("*", "*/*")
            for path in start.glob(f"{form}/{FILE_NAME}")
        }
    )
    shown = ", ".join(map(str, below[:3])) + (", …" if len(below) > 3 else "")
    raise BadInput(
        f"no {FILE_NAME} in {start} or any folder above it; "
        + (
            f"change to a project's folder ({shown})"
            if below
            else "`flyball init` writes one, or change to the project's folder"
        ),
        folder=str(start),
    )


def read_project(
    start: Path,
    *,
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    section: str | None = None,
) -> ProjectFile:
    """The project that a file, or the file nearest to a folder, describes.

    flags: dotted keys and their values as text (`{"train.params.depth": "3"}`), read as TOML where they can be.
    environment: variables such as `FLYBALL__TRAIN__SEED=9` apply, none to [environments]. section: name of an
    [environments.NAME] that does.
    Raises ProjectError with every fault found, each with file, line, key, expected and nearest known key.
    """
    path = find_project_file(start)
    text = read_text(path)
    document, lines = parse(text, path)
    origins = dict.fromkeys(_given(document), "file")
    if section is not None:
        _apply_section(document, section, origins, path, lines)
    for key, value in _variables(environment or {}).items():
        if key.split(".")[0] == "environments":
            # What an environment asks for is reviewed with the file; a variable of one job must not ask for less.
            raise BadInput(
                f"environment variable {_variable_name(key)} is not read: what an environment asks for stands in "
                f"{FILE_NAME} only. Where it is, FLYBALL_<NAME>_DATABASE and the like say",
                key=key,
            )
        _apply(document, key, value, f"environment variable {_variable_name(key)}", origins)
    for key, value in (flags or {}).items():
        _apply(document, key, value, "flag", origins)
    project, faults = fill(Project, document)
    if project is not None:
        faults = list(broken_rules(project))
    if project is None or faults:
        raise faulty(path, faults, lines, origins)
    return ProjectFile(
        project=project,
        path=path,
        folder=path.parent,
        origins=origins,
        lines={dotted(key): line for key, line in lines.items()},
    )


def _given(document: Mapping[str, Any], path: KeyPath = ()) -> list[str]:
    """Dotted keys of everything a document gives a value for, tables included."""
    found: list[str] = []
    for key, value in document.items():
        found.append(dotted((*path, key)))
        if isinstance(value, dict):
            found += _given(value, (*path, key))
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, dict):
                    found += _given(item, (*path, key, number))
    return found


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Settings from variables: `FLYBALL__DATA__OUTCOME_DELAY=2d` sets `data.outcome_delay`."""
    found: dict[str, str] = {}
    for name, value in sorted(environment.items()):
        if name.startswith(VARIABLE_PREFIX):
            found[name.removeprefix(VARIABLE_PREFIX).lower().replace("__", ".")] = value
    return found


def _variable_name(key: str) -> str:
    return VARIABLE_PREFIX + key.replace(".", "__").upper()


def _apply_section(
    document: dict[str, Any], section: str, origins: dict[str, str], path: Path, lines: Lines
) -> None:
    named = document.get("environments")
    chosen = named.get(section) if isinstance(named, dict) else None
    if not isinstance(chosen, dict):
        known = list(named) if isinstance(named, dict) else []
        near = nearest(section, known)
        raise faulty(
            path,
            [
                Fault(
                    path=("environments", section),
                    problem="is missing",
                    expected=f"one of {', '.join(known)}" if known else "a section of that name",
                    nearest=near,
                )
            ],
            lines,
            origins,
        )
    _, faults = fill(EnvironmentSection, chosen)
    if faults:
        return  # reported with their own path when the whole document is checked
    asked = [found.get("approvals") for found in (document.get("rollout"), chosen, chosen.get("rollout"))
             if isinstance(found, dict)]  # fmt: skip
    approvals = max([found for found in asked if isinstance(found, int)], default=0)
    for name in _OVERRIDABLE:
        if name not in chosen:
            continue
        given = chosen[name]
        if isinstance(given, dict):
            document[name] = {**(document.get(name) or {}), **given}
            origins |= {f"{name}.{key}": f"environments.{section}" for key in _given(given)}
        else:
            document[name] = given
            origins |= dict.fromkeys(_given({name: given}), f"environments.{section}")
    if "deliver" in chosen and isinstance(document.setdefault("retrain", {}), dict):
        document["retrain"]["deliver"] = chosen["deliver"]
        origins["retrain.deliver"] = f"environments.{section}"
    if "approvals" in chosen or "approvals" in (chosen.get("rollout") or {}):
        # The strictest decides: an environment may ask for more than the file, never for less.
        document.setdefault("rollout", {})["approvals"] = approvals
        origins["rollout.approvals"] = f"environments.{section}"


def _apply(document: dict[str, Any], key: str, text: str, origin: str, origins: dict[str, str]) -> None:
    """Set one dotted key. Below free tables such as train.params any key may be set, elsewhere known ones."""
    if not text.strip():
        raise BadInput(
            f"{origin} {key} gives no value; leave it out for the default, or write '\"\"' for an empty text",
            key=key,
        )
    parts = key.split(".")
    hint: Any = Project
    table: Any = document
    for number, part in enumerate(parts[:-1]):
        hint = _hint_below(hint, part, key)
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise BadInput(
                f"{origin} {key}: {'.'.join(parts[: number + 1])} is no table; set it in the file", key=key
            )
    leaf = _hint_below(hint, parts[-1], key)
    table[parts[-1]] = _value(text, leaf)
    for length in range(1, len(parts) + 1):
        origins.setdefault(".".join(parts[:length]), origin)
    origins[key] = origin


def _hint_below(hint: Any, part: str, key: str) -> Any:
    section = section_of(hint)
    if section is None:
        return Any
    if getattr(hint, "__origin__", None) is dict:
        return section  # a table of named sections: the name is free
    fields = known_keys(section)
    if part not in fields:
        near = nearest(part, fields)
        raise BadInput(
            f"{key!r} sets an unknown key {part!r}" + (f"; did you mean {near!r}?" if near else ""),
            key=key,
            nearest=near,
        )
    return get_type_hints(section)[fields[part].name]


def _value(text: str, hint: Any) -> Any:
    """A value as typed: TOML where it parses and text where it doesn't, or where text is what is expected."""
    if hint is str or set(get_args(hint)) == {str, type(None)}:
        return "" if text in ('""', "''") else text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
