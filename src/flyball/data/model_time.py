"""Model clocks, kept: the highest event time seen of each model and the wall moment at which it was seen."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, String, Table, insert, select, update

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.clock import AHEAD_LIMIT, ModelClock

model_clocks = Table(
    "model_clocks",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("highest_event_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)


def find_clock(conn: Connection, model: str) -> ModelClock | None:
    """The model's clock; None until its first prediction was folded."""
    row = conn.execute(select(model_clocks).where(model_clocks.c.model == model)).one_or_none()
    return None if row is None else ModelClock(highest_event_at=row.highest_event_at, seen_at=row.seen_at)


def find_model_time(conn: Connection, model: str, wall: datetime) -> datetime | None:
    """The model's own time at this wall moment; None until its first prediction was folded."""
    clock = find_clock(conn, model)
    return None if clock is None else clock.now(wall)


def note_event_time(conn: Connection, model: str, event_at: datetime, wall: datetime) -> ModelClock:
    """The model's clock after an event of this time was seen at this wall moment; it never goes back."""
    known = find_clock(conn, model)
    if known is None:
        clock = ModelClock(highest_event_at=min(event_at, wall + AHEAD_LIMIT), seen_at=wall)
        conn.execute(insert(model_clocks).values(model=model, **_values(clock)))
        return clock
    clock = known.seen(event_at, wall)
    if clock != known:
        conn.execute(update(model_clocks).where(model_clocks.c.model == model).values(**_values(clock)))
    return clock


def _values(clock: ModelClock) -> dict[str, datetime]:
    return {"highest_event_at": clock.highest_event_at, "seen_at": clock.seen_at}
