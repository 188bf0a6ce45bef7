"""Who acts on events: a cursor per consumer, delivery at least once, and a parking place for what can't be handled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime

import msgspec
from sqlalchemy import BigInteger, Column, Integer, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from flyball.backends.db.database import Database
from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.clock import Clock
from flyball.core.errors import LeaseLost, Unavailable
from flyball.governance.actors import SYSTEM
from flyball.governance.events import Event, list_events
from flyball.governance.journal import Change, record

ATTEMPTS = 5
PARKED = "event.parked"

event_consumers = Table(
    "event_consumers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),  # of the event that comes next
    Column("updated_at", UtcDateTime, nullable=False),
)


class Consumer(msgspec.Struct, frozen=True):
    """How far a consumer has come: everything up to `cursor` is handled or parked."""

    name: str
    cursor: int
    failures: int
    updated_at: datetime


def deliver(
    database: Database,
    consumer: str,
    kinds: Collection[str],
    handle: Callable[[Event], None],
    clock: Clock,
    limit: int = 100,
) -> int:
    """Hand the next events of these kinds to `handle`, in order; how many were handled.

    The cursor moves after each one, so an event may come again after a crash: `handle` must be safe to repeat, as
    is starting a workflow under the id `consumer:event`. One that raises ends the round and comes again in the
    next; the fifth time it is parked, with an event "event.parked", and the next one has its turn. A store that does
    not answer is nobody's failure and is not counted.
    """
    with database.read() as conn:
        waiting = next_events(conn, consumer, kinds, limit)
    handled = 0
    for event in waiting:
        try:
            handle(event)
        except LeaseLost:
            raise  # not the event's fault, and whoever acts now delivers it
        except Unavailable as error:
            logging.getLogger(__name__).warning("%s waits at event %s: %s", consumer, event.id, error.message)
            return handled
        except Exception as error:
            logging.getLogger(__name__).exception(
                "%s failed at event %s (%s)", consumer, event.id, event.kind
            )
            with database.write() as conn:
                if not record_failure(conn, consumer, event, f"{type(error).__name__}: {error}", clock.now()):
                    return handled
        else:
            handled += 1
            with database.write() as conn:
                move_cursor(conn, consumer, event.number, clock.now())
    return handled


def next_events(conn: Connection, consumer: str, kinds: Collection[str], limit: int = 100) -> list[Event]:
    """The next events of these kinds behind a consumer's cursor, in order. A new consumer starts at the first."""
    found = find_consumer(conn, consumer)
    return list_events(conn, kinds=kinds, after=found.cursor if found else 0, limit=limit)


def find_consumer(conn: Connection, name: str) -> Consumer | None:
    """How far a consumer has come; None if it has never moved."""
    row = conn.execute(select(event_consumers).where(event_consumers.c.name == name)).one_or_none()
    return None if row is None else Consumer(**row._mapping)


def move_cursor(conn: Connection, consumer: str, number: int, now: datetime) -> None:
    """Note that everything up to `number` is handled. A cursor never moves back."""
    _write(conn, consumer, max(number, _cursor(conn, consumer)), 0, now)


def record_failure(conn: Connection, consumer: str, event: Event, reason: str, now: datetime) -> bool:
    """Count a failure at an event; True if that was one too many and the event is parked, behind the cursor now."""
    found = find_consumer(conn, consumer)
    failures = (found.failures if found else 0) + 1
    if failures < ATTEMPTS:
        _write(conn, consumer, found.cursor if found else 0, failures, now)
        return False
    facts = {"consumer": consumer, "event": event.id, "number": event.number, "kind": event.kind}
    if "model" in event.facts:
        facts["model"] = event.facts["model"]
    change = Change(
        actor=SYSTEM,
        action=PARKED,
        subject=f"event:{event.id}",
        why=f"{consumer} failed {failures} times: {reason[:500]}",
        facts=facts | {"reason": reason[:500]},
        # A consumer of parked events that fails at one must not feed itself.
        event=None if event.kind == PARKED else PARKED,
    )
    record(conn, change, now)
    _write(conn, consumer, event.number, 0, now)
    return True


def _cursor(conn: Connection, consumer: str) -> int:
    found = find_consumer(conn, consumer)
    return found.cursor if found else 0


def _write(conn: Connection, consumer: str, cursor: int, failures: int, now: datetime) -> None:
    values = {"cursor": cursor, "failures": failures, "updated_at": now}
    mine = update(event_consumers).where(event_consumers.c.name == consumer)
    if conn.execute(mine.values(values)).rowcount == 0:
        conn.execute(insert(event_consumers).values(name=consumer, **values))
