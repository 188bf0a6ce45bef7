"""What else in the database shows that an audit entry was written: rows that come into being with one.

Whoever deletes the newest entries, and the row that counts them, leaves a chain that fits itself. These rows tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sqlalchemy import ColumnElement, Table, func, or_, select
from sqlalchemy.engine import Connection

from flyball.governance.consumers import event_consumers
from flyball.governance.events import events
from flyball.governance.journal import audit_entries
from flyball.governance.request_keys import request_keys

_NAMED = 5


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """A table of which every row was written together with one entry of these actions about this subject."""

    table: Table
    subject: ColumnElement[str]
    actions: tuple[str, ...]


def find_missing(conn: Connection, witnesses: Iterable[Witness], last: int) -> str | None:
    """What shows that entries are missing although the chain, which ends at `last`, holds; None when nothing does."""
    told = [*_events(conn), *_numbers(conn, last)]
    for witness in witnesses:
        told += _rows(conn, witness)
        if len(told) > _NAMED:
            break
    if not told:
        return None
    more = " and more" if len(told) > _NAMED else ""
    return f"entries were removed or replaced: {'; '.join(told[:_NAMED])}{more}"


def _events(conn: Connection) -> Iterator[str]:
    """An event is written with the entry of its number, and says the same."""
    entry = audit_entries.c
    same = [entry[name] == events.c[name] for name in ("at", "subject", "facts", "actor_id")]
    found = conn.execute(
        select(events.c.number, events.c.kind, events.c.subject, entry.number.label("entry"))
        .select_from(events.outerjoin(audit_entries, entry.number == events.c.number))
        .where(or_(entry.number.is_(None), *(~condition for condition in same)))
        .order_by(events.c.number)
        .limit(_NAMED + 1)
    )
    for row in found:
        what = "has no entry" if row.entry is None else f"is not what entry {row.entry} says"
        yield f"event {row.number} ({row.kind} of {row.subject}) {what}"


def _numbers(conn: Connection, last: int) -> Iterator[str]:
    """What remembers an entry's number can't be ahead of the newest entry."""
    answered = conn.execute(select(func.max(request_keys.c.entry))).scalar() or 0
    if answered > last:
        yield f"a request was answered with entry {answered}"
    read = conn.execute(
        select(event_consumers.c.name, event_consumers.c.cursor)
        .where(event_consumers.c.cursor > last)
        .order_by(event_consumers.c.name)
    )
    for row in read:
        yield f"{row.name} has read up to entry {row.cursor}"


def _rows(conn: Connection, witness: Witness) -> Iterator[str]:
    rows = select(witness.subject.label("subject"), func.count().label("count"))
    there = rows.select_from(witness.table).group_by(witness.subject).subquery()
    written = (
        select(audit_entries.c.subject, func.count().label("count"))
        .where(audit_entries.c.action.in_(witness.actions))
        .group_by(audit_entries.c.subject)
        .subquery()
    )
    entries = func.coalesce(written.c.count, 0)
    found = conn.execute(
        select(there.c.subject, there.c.count.label("rows"), entries.label("entries"))
        .select_from(there.outerjoin(written, written.c.subject == there.c.subject))
        .where(there.c.count > entries)
        .order_by(there.c.subject)
        .limit(_NAMED + 1)
    )
    for row in found:
        yield f"{row.subject}: {row.rows} in {witness.table.name}, {row.entries} {' or '.join(witness.actions)}"
