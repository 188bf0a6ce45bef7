"""Windows of the log that were judged: what was seen, what was measured, whether it counts as healthy."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Boolean, Column, Connection, Float, Integer, String, Table, delete, insert, select

from flyball.backends.db.metadata import Json, UtcDateTime, metadata

windows = Table(
    "windows",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("start", UtcDateTime, primary_key=True),
    Column("end", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("analysed_at", UtcDateTime, nullable=False),
    Column("version", Integer),
    Column("row_count", Integer, nullable=False),
    Column("labelled_count", Integer, nullable=False),
    Column("metric", String(64)),
    Column("loss", Float),
    Column("reference_loss", Float),
    Column("healthy", Boolean, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("summary", Json, nullable=False),
    Column("statistics", Json, nullable=False),
)

watch_starts = Table(
    "watch_starts",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
)

WindowState = Literal["inputs", "complete"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A window that was judged.

    `state` is `inputs` until the outcomes were due. `decided_at` is model time, `analysed_at` wall time. `loss` is
    the mean loss by `metric` of the answers of `version`; `reference_loss` what its training promised. A window that
    is not `healthy` never enters a reference; the rows of one that is `held` never train a model. `summary` counts
    what came in, `statistics` holds what was made of it.
    """

    model: str
    start: datetime
    end: datetime
    state: WindowState
    decided_at: datetime
    analysed_at: datetime
    version: int | None = None
    row_count: int = 0
    labelled_count: int = 0
    metric: str | None = None
    loss: float | None = None
    reference_loss: float | None = None
    healthy: bool = True
    held: bool = False
    summary: dict[str, Any] = {}
    statistics: dict[str, Any] = {}


def save_window(conn: Connection, window: Window) -> None:
    """Write a judged window, in place of an earlier judgement of the same window."""
    key = (windows.c.model == window.model) & (windows.c.start == window.start)
    conn.execute(delete(windows).where(key))
    conn.execute(insert(windows).values(**msgspec.structs.asdict(window)))


def find_window(conn: Connection, model: str, start: datetime) -> Window | None:
    """The judged window of this start, or None."""
    row = conn.execute(
        select(windows).where(windows.c.model == model, windows.c.start == start)
    ).one_or_none()
    return None if row is None else Window(**row._mapping)


def find_last_window(conn: Connection, model: str) -> Window | None:
    """The newest window of which something was judged, or None."""
    row = conn.execute(
        select(windows).where(windows.c.model == model).order_by(windows.c.start.desc()).limit(1)
    ).one_or_none()
    return None if row is None else Window(**row._mapping)


def list_windows(
    conn: Connection, model: str, *, before: datetime | None = None, limit: int = 200
) -> list[Window]:
    """The newest judged windows that start before a moment, oldest first."""
    query = select(windows).where(windows.c.model == model)
    if before is not None:
        query = query.where(windows.c.start < before)
    rows = conn.execute(query.order_by(windows.c.start.desc()).limit(limit)).all()
    return [Window(**row._mapping) for row in reversed(rows)]


def list_waiting(conn: Connection, model: str) -> list[datetime]:
    """Starts of the windows whose outcomes are not judged yet, oldest first."""
    query = select(windows.c.start).where(windows.c.model == model, windows.c.state == "inputs")
    return list(conn.execute(query.order_by(windows.c.start)).scalars())


def list_held(conn: Connection, model: str) -> list[tuple[datetime, datetime]]:
    """Start and end of every window whose rows never train a model, oldest first."""
    query = select(windows.c.start, windows.c.end).where(windows.c.model == model, windows.c.held)
    return [(row.start, row.end) for row in conn.execute(query.order_by(windows.c.start))]


def find_watch_start(conn: Connection, model: str) -> datetime | None:
    """The event time of the first prediction that was watched; None before there was one."""
    return conn.execute(select(watch_starts.c.first_at).where(watch_starts.c.model == model)).scalar()


def save_watch_start(conn: Connection, model: str, first_at: datetime) -> None:
    """Note where watching began. What is there already stays."""
    if find_watch_start(conn, model) is None:
        conn.execute(insert(watch_starts).values(model=model, first_at=first_at))
