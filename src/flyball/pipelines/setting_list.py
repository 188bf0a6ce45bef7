"""Every key that a project file may have, with type, default, meaning and reason: one list for docs and schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec

from flyball.core.project import Project
from flyball.pipelines.default_reasons import REASONS
from flyball.pipelines.setting_meanings import MEANINGS
from flyball.pipelines.shape import known_keys, section_of, type_words


class KnownSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `owner`: the struct that holds it; `default` is None where it is required or nothing is set.

    `is_table`: it holds further keys, which follow it in the list.
    """

    key: str
    owner: type[msgspec.Struct]
    type: str
    required: bool
    default: Any
    meaning: str
    reason: str | None
    is_table: bool


def list_settings() -> list[KnownSetting]:
    """Every key in the order of the file; those of repeated or named tables once, without index or name.

    >>> next(s for s in list_settings() if s.key == "monitor.window").default
    '1d'
    """
    return list(_walk(Project, ""))


def _walk(owner: type[msgspec.Struct], prefix: str) -> Iterator[KnownSetting]:
    hints = get_type_hints(owner)
    for name, field in known_keys(owner).items():
        key = f"{prefix}{name}"
        section = section_of(hints[field.name])
        # A section that always exists has no default of its own: its keys have.
        is_plain_section = key == "data.split" or key not in MEANINGS
        if not is_plain_section:
            yield KnownSetting(
                key=key,
                owner=owner,
                type=type_words(hints[field.name]),
                required=field.required,
                default=_default(field),
                meaning=MEANINGS[key],
                reason=REASONS.get(key),
                is_table=section is not None,
            )
        # [environments.NAME.rollout] has the keys of [rollout], which stand there already.
        if section is not None and key not in ("environments.rollout", "environments.gates"):
            yield from _walk(section, f"{key}.")


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        made = field.default_factory()
        return None if isinstance(made, msgspec.Struct) else made
    return None
