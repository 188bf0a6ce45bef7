"""A document of plain values becomes structs; every fault is collected with its path, not only the first."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from flyball.pipelines.positions import Path

T = TypeVar("T", bound=msgspec.Struct)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a document: where, what, what was expected, and the nearest known key if there is one."""

    path: Path
    problem: str
    expected: str | None = None
    nearest: str | None = None


def fill(kind: type[T], document: Any) -> tuple[T | None, list[Fault]]:
    """The struct that a document describes, or None and everything that is wrong with the document."""
    faults: list[Fault] = []
    _check_struct(kind, document, (), faults)
    if faults:
        return None, faults
    return msgspec.convert(document, kind), []


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, if any is near."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return names[near[0]] if near else None


def known_keys(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The keys a section understands, as they are written in the file."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def section_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct behind a type such as `X`, `X | None`, `list[X]` or `dict[str, X]`."""
    for part in _parts(hint):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part
    return None


def type_words(hint: Any) -> str:
    """A type in words a user of the file understands: `text`, `a list of text`, `one of time, random, group`."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        words = [type_words(part) for part in get_args(hint) if part is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(hint))
    if origin in (list, tuple):
        inner = [part for part in get_args(hint) if part is not Ellipsis]
        return f"a list of {type_words(inner[0])}" if inner else "a list"
    if origin is dict:
        return "a table"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "a table"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(hint, "a value")


def _parts(hint: Any) -> list[Any]:
    below = get_args(hint) if get_origin(hint) is not Literal else ()
    return [hint] if not below else [leaf for part in below for leaf in _parts(part)]


def _check_struct(kind: type[msgspec.Struct], document: Any, path: Path, faults: list[Fault]) -> None:
    if not isinstance(document, dict):
        faults.append(Fault(path=path, problem=f"is {_shown(document)}", expected="a table"))
        return
    fields = known_keys(kind)
    for key in document:
        if key not in fields:
            near = nearest(key, fields)
            known = ", ".join(fields)
            faults.append(
                Fault(
                    path=(*path, key), problem="is not a known key", expected=f"one of {known}", nearest=near
                )
            )
    hints = get_type_hints(kind)
    for name, field in fields.items():
        if name in document:
            _check_value(hints[field.name], document[name], (*path, name), faults)
        elif field.required:
            faults.append(
                Fault(path=(*path, name), problem="is missing", expected=type_words(hints[field.name]))
            )


def _check_value(hint: Any, value: Any, path: Path, faults: list[Fault]) -> None:
    origin, section = get_origin(hint), section_of(hint)
    if origin in (types.UnionType, Union) and section is not None:
        hint = next(part for part in get_args(hint) if section_of(part) is not None)
        origin = get_origin(hint)
    if section is None:
        _check_leaf(hint, value, path, faults)
    elif origin is list:
        if not isinstance(value, list):
            faults.append(Fault(path=path, problem=f"is {_shown(value)}", expected=f"[[{path[-1]}]] tables"))
            return
        for number, item in enumerate(value):
            _check_struct(section, item, (*path, number), faults)
    elif origin is dict:
        if not isinstance(value, dict):
            faults.append(Fault(path=path, problem=f"is {_shown(value)}", expected="a table"))
            return
        for key, item in value.items():
            _check_struct(section, item, (*path, key), faults)
    else:
        _check_struct(section, value, path, faults)


def _check_leaf(hint: Any, value: Any, path: Path, faults: list[Fault]) -> None:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        near = None
        if isinstance(value, str) and get_origin(hint) is Literal:
            near = nearest(value, [str(choice) for choice in get_args(hint)])
        faults.append(
            Fault(path=path, problem=f"is {_shown(value)}", expected=type_words(hint), nearest=near)
        )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value[:60]}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return repr(value)[:60]
