"""Columns that [log] drops or hashes: wherever rows are shown and kept, their values are not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flyball.core.project import LogSection

if TYPE_CHECKING:
    import polars as pl

HIDDEN = "(not shown)"
_SHORTEST_TRACE = 3  # shorter values would blank out half of every message


def hidden_columns(log: LogSection) -> frozenset[str]:
    """The columns whose values are not shown."""
    return frozenset((*log.drop, *log.hash))


def shown_row(row: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """A row as plain values, with a word in place of those that are not shown."""
    return {name: HIDDEN if name in hidden else shown_value(value) for name, value in row.items()}


def shown_value(value: Any) -> Any:
    """A value as JSON has it: what JSON has no form for as text."""
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def without_values(text: str, frames: Iterable[pl.DataFrame], hidden: Collection[str]) -> str:
    """A message that somebody else's code wrote about these rows, without values of three characters or more.

    What a library says of a value it could not use often quotes it.
    """
    for frame in frames:
        for name in hidden:
            if name in frame.columns:
                values = {str(value) for value in frame.get_column(name).unique().to_list()}
                # The longest first: a value may be part of another.
                for value in sorted(values, key=len, reverse=True):
                    if len(value) >= _SHORTEST_TRACE:
                        text = text.replace(value, HIDDEN)
    return text
