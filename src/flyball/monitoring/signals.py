"""Signals: alarms of a monitor, each with its statistic, its threshold, its cause and one sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Boolean, Column, Connection, Float, Index, String, Table, Text, insert, select

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.clock import isoformat
from flyball.core.errors import SignalNotFound
from flyball.core.ids import derived_id

SignalKind = Literal["performance", "drift", "prediction", "contract", "operational"]

signals = Table(
    "signals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    Column("statistic", Float),
    Column("threshold", Float),
    Column("p_value", Float),
    Column("cause", String(32), nullable=False),
    Column("feature", String(200)),
    Column("sentence", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("incident_id", String(40)),
    Column("confirmed", Boolean, nullable=False),
    Index("ix_signals_model_at", "model", "at"),
)


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm about one window.

    `at` is the model time of the judgement, `raised_at` the wall time. `statistic` and `threshold` share a unit;
    `p_value` is None for facts, which no budget covers. `cause` is a cause of judge/causes or `undetermined`.
    `confirmed`: the retraining rule is met (outcomes past their margin in 2 of 3 windows, or drift in 2 of 3).
    """

    id: str
    model: str
    kind: SignalKind
    window_start: datetime
    window_end: datetime
    at: datetime
    raised_at: datetime
    statistic: float | None
    threshold: float | None
    p_value: float | None
    cause: str
    feature: str | None
    sentence: str
    facts: dict[str, Any]
    incident_id: str | None
    confirmed: bool


def signal_id(model: str, window_start: datetime, kind: SignalKind, feature: str | None) -> str:
    """The id that a signal of this kind about this window always has, however often the window is judged."""
    return derived_id("sig", model, isoformat(window_start), kind, feature or "")


def save_signal(conn: Connection, signal: Signal) -> bool:
    """Write a signal. Returns False, and changes nothing, if it was raised before."""
    if conn.execute(select(signals.c.id).where(signals.c.id == signal.id)).one_or_none() is not None:
        return False
    conn.execute(insert(signals).values(**msgspec.structs.asdict(signal)))
    return True


def get_signal(conn: Connection, signal_id: str) -> Signal:
    """One signal. Raises SignalNotFound."""
    row = conn.execute(select(signals).where(signals.c.id == signal_id)).one_or_none()
    if row is None:
        raise SignalNotFound(signal_id)
    return Signal(**row._mapping)


def list_signals(
    conn: Connection,
    model: str | None = None,
    *,
    incident_id: str | None = None,
    kind: SignalKind | None = None,
    limit: int = 100,
) -> list[Signal]:
    """Signals, newest first."""
    query = select(signals)
    for column, value in (
        (signals.c.model, model),
        (signals.c.incident_id, incident_id),
        (signals.c.kind, kind),
    ):
        if value is not None:
            query = query.where(column == value)
    rows = conn.execute(query.order_by(signals.c.at.desc(), signals.c.id).limit(limit)).all()
    return [Signal(**row._mapping) for row in rows]
