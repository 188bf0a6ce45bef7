"""What happened, for whoever wants to act on it: events, format 1, in the order of their commits."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, Row, Select, String, Table, Text, select
from sqlalchemy.engine import Connection

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.values import Actor

FORMAT = 1

events = Table(
    "events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("model", String(64)),  # facts["model"], to look for
    Column("facts", Json, nullable=False),
    Column("actor_id", String(255), nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_name", String(255), nullable=False),
    Index("ix_events_kind_number", "kind", "number"),
    Index("ix_events_model_number", "model", "number"),
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `number` is the number of its audit entry; numbers grow in the order of commits."""

    format: int
    number: int
    id: str
    at: datetime
    kind: str
    subject: str
    facts: dict[str, Any]
    actor: Actor


def list_events(
    conn: Connection,
    *,
    kinds: Collection[str] | None = None,
    model: str | None = None,
    subject: str | None = None,
    after: int = 0,
    before: int | None = None,
    limit: int = 100,
    newest_first: bool = False,
) -> list[Event]:
    """Events with numbers between `after` and `before` (both exclusive) that fit, in the order of their numbers."""
    query = select(events).where(events.c.number > after)
    if before is not None:
        query = query.where(events.c.number < before)
    if kinds is not None:
        query = query.where(events.c.kind.in_(list(kinds)))
    if model is not None:
        query = query.where(events.c.model == model)
    if subject is not None:
        query = query.where(events.c.subject == subject)
    return _read(
        conn, query.order_by(events.c.number.desc() if newest_first else events.c.number).limit(limit)
    )


def _read(conn: Connection, query: Select[Any]) -> list[Event]:
    return [_event(row) for row in conn.execute(query)]


def _event(row: Row[Any]) -> Event:
    return Event(
        format=row.format,
        number=row.number,
        id=row.id,
        at=row.at,
        kind=row.kind,
        subject=row.subject,
        facts=row.facts,
        actor=Actor(row.actor_name, row.actor_kind, row.actor_id),
    )
