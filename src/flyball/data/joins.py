"""As-of joins: to each row the newest row of another source that was available at its time, never a later one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flyball.core.errors import BadInput, SourceUnreadable
from flyball.core.project import JoinSection
from flyball.data.columns import check_columns, event_times
from flyball.data.sources import read_source

if TYPE_CHECKING:
    import polars as pl

_LEFT, _RIGHT, _ORDER = "__event_time", "__available_at", "__row"


def join_sources(
    frame: pl.DataFrame, joins: Sequence[JoinSection], *, time: str | None, folder: Path
) -> pl.DataFrame:
    """The rows, in their order, with the columns of every `[[data.join]]`; null where nothing was available.

    Raises BadInput without [model].time, UnknownColumn, SourceUnreadable.
    """
    for number, join in enumerate(joins, start=1):
        where = f"[[data.join]] {number}"
        if time is None:
            raise BadInput(f"{where} joins by time; name the event time's column in [model].time")
        other = read_source(join.source, folder=folder, query=join.query)
        frame = join_as_of(frame, other, join, time=time, where=where)
    return frame


def join_as_of(
    frame: pl.DataFrame, other: pl.DataFrame, join: JoinSection, *, time: str, where: str = "[[data.join]]"
) -> pl.DataFrame:
    """`frame` with the columns of the newest row of `other` for which available_at <= the row's time.

    The keys are equal. Of rows that became available at one moment, the last in the source counts. Rows without
    `available_at` are never used, and the column itself is not joined.
    """
    import polars as pl

    keys = [join.on] if isinstance(join.on, str) else list(join.on)
    check_columns(keys, frame.columns, f"{where}.on (in the data)")
    check_columns([*keys, join.available_at], other.columns, f"{where} ({join.source})")
    added = [name for name in other.columns if name not in (*keys, join.available_at)]
    both = sorted(set(added) & set(frame.columns))
    if both:
        raise BadInput(
            f"{where}: {join.source} and the data both have the column {both[0]!r}; rename one (a database's `query` "
            "can do so)",
            column=both[0],
        )
    other = other.filter(pl.col(join.available_at).is_not_null())
    available = event_times(other, join.available_at, f"{where}.available_at")
    right = other.with_columns(available.alias(_RIGHT)).sort(_RIGHT, maintain_order=True)
    left = frame.with_columns(event_times(frame, time).alias(_LEFT), pl.int_range(pl.len()).alias(_ORDER))
    for key in keys:
        left, right = _same_type(left, right, key, where)
    joined = left.sort(_LEFT, maintain_order=True).join_asof(
        right.select(*keys, _RIGHT, *added),
        left_on=_LEFT,
        right_on=_RIGHT,
        by=keys,
        strategy="backward",
        check_sortedness=False,
    )
    return joined.sort(_ORDER).select(*frame.columns, *added)


def _same_type(
    left: pl.DataFrame, right: pl.DataFrame, key: str, where: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    mine, theirs = left.schema[key], right.schema[key]
    if mine == theirs:
        return left, right
    if mine.is_integer() and theirs.is_integer():
        cast = pl.col(key).cast(pl.Int64)
        return left.with_columns(cast), right.with_columns(cast)
    raise SourceUnreadable(
        f"{where}.on: {key!r} holds {mine} in the data and {theirs} in the joined source; keys join only when they "
        "are of one type",
        column=key,
    )
