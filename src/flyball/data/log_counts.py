"""How many predictions and outcomes of each model were folded: for progress, status and the console."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert, select

from flyball.backends.db.metadata import UtcDateTime, metadata

_COUNTS = ("predictions", "shadows", "failures", "outcomes", "pending", "duplicates", "conflicts")

log_counts = Table(
    "log_counts",
    metadata,
    Column("model", String(63), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS),
    Column("batch", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)


class LogCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one model's log, as of the last fold.

    `predictions`: answers given, each id once (shadows apart). `failures`: rows that got no answer. `outcomes`:
    predictions or moments whose outcome was told, each once. `pending`: those of them that fit no prediction yet.
    `duplicates`: records left out because their id was there with the same input; `conflicts`: with another one.
    """

    model: str
    predictions: int = 0
    shadows: int = 0
    failures: int = 0
    outcomes: int = 0
    pending: int = 0
    duplicates: int = 0
    conflicts: int = 0
    batch: int = 0
    updated_at: datetime | None = None


def get_counts(conn: Connection, model: str) -> LogCounts:
    """The model's counts; all zero when nothing of it was folded."""
    row = conn.execute(select(log_counts).where(log_counts.c.model == model)).one_or_none()
    return LogCounts(model=model) if row is None else LogCounts(**row._mapping)


def put_counts(conn: Connection, counts: LogCounts) -> None:
    """Replace the model's counts."""
    conn.execute(delete(log_counts).where(log_counts.c.model == counts.model))
    conn.execute(insert(log_counts).values(**msgspec.structs.asdict(counts)))
