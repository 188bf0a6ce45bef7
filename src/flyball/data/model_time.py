"""Model clocks, kept: the highest event time seen of each model and the wall moment at which it was seen."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, insert, select, update

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.clock import AHEAD_LIMIT, ModelClock

# How long a clock that no event time began waits for one, before anything is judged by it.
PROVISIONAL = timedelta(hours=1)

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


def is_provisional(clock: ModelClock, wall: datetime, *, has_time: bool) -> bool:
    """Whether an event time would still replace this clock: a row without one began it, less than an hour ago.

    Only such a row of a model with a time column leaves a clock at exactly the moment it was seen, and it does so once.
    """
    return has_time and clock.highest_event_at == clock.seen_at and wall - clock.seen_at < PROVISIONAL


def begin_clock(conn: Connection, model: str, received_at: datetime) -> None:
    """Begin a model's clock by a row that says no event time; one that runs is left as it is."""
    if find_clock(conn, model) is None:
        clock = ModelClock(highest_event_at=received_at, seen_at=received_at)
        conn.execute(insert(model_clocks).values(model=model, **_values(clock)))


def note_event_time(
    conn: Connection, model: str, event_at: datetime, wall: datetime, *, has_time: bool = False
) -> ModelClock:
    """The model's clock after an event of this time was seen at this wall moment.

    It never goes back, except that the first event time replaces a provisional clock.
    """
    known = find_clock(conn, model)
    if known is None:
        clock = ModelClock(highest_event_at=min(event_at, wall + AHEAD_LIMIT), seen_at=wall)
        conn.execute(insert(model_clocks).values(model=model, **_values(clock)))
        return clock
    if is_provisional(known, wall, has_time=has_time):
        clock = ModelClock(highest_event_at=min(event_at, wall + AHEAD_LIMIT), seen_at=wall)
    else:
        clock = known.seen(event_at, wall)
    if clock != known:
        conn.execute(update(model_clocks).where(model_clocks.c.model == model).values(**_values(clock)))
    return clock


def _values(clock: ModelClock) -> dict[str, datetime]:
    return {"highest_event_at": clock.highest_event_at, "seen_at": clock.seen_at}
