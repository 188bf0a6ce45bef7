"""The journal: every change of state as an audit entry, and as an event where others may act on it.

Entries (format 1) form a chain: each holds the digest of the one before. An entry, its event and the change itself
are one transaction, so a change without its entry can't exist. Numbers come from one row that stays locked until
the commit: they are dense, and their order is the order of commits. A database sequence would hand them out in
order and let them be committed out of order, and a reader's cursor would skip some.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, Row, String, Table, Text, insert, select, update
from sqlalchemy.engine import Connection

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.clock import isoformat
from flyball.core.digests import canonical_json, digest_bytes, digest_json
from flyball.core.ids import new_id
from flyball.core.values import Actor
from flyball.governance import events, request_keys

FORMAT = 1
GENESIS = digest_bytes(b"flyball audit trail, format 1")
_CHAIN = "main"

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor_id", String(255), nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_name", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("previous", String(71), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("model", String(64)),  # facts["model"], to look for
    Index("ix_audit_entries_model_number", "model", "number"),
    Index("ix_audit_entries_subject_number", "subject", "number"),
)

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("digest", String(71), nullable=False),
)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is done: by whom, what, to what, why. `event` is the kind of event others may act on, if any.

    action and event: dotted and in the past, as in "version.registered". subject: kind and name, as in
    "version:bike@3". facts: a JSON object; `facts["model"]` makes the change findable by its model.
    """

    actor: Actor
    action: str
    subject: str
    why: str = ""
    facts: dict[str, Any] = {}
    event: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One audit entry. `digest` is the SHA-256 of the canonical JSON of all other fields."""

    format: int
    number: int
    id: str
    at: datetime
    actor: Actor
    action: str
    subject: str
    why: str
    facts: dict[str, Any]
    previous: str
    digest: str


class Head(msgspec.Struct, frozen=True):
    """The end of the chain at some moment: kept elsewhere, it proves later that nothing before it was touched."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


def record(conn: Connection, change: Change, now: datetime) -> Entry:
    """Write a change's audit entry, and its event if it has one, in the caller's write transaction; the entry.

    The event carries the entry's number, subject, facts and actor. Call it once for each change, with the change.
    """
    number, previous = _next(conn)
    entry = _sealed(
        Entry(
            format=FORMAT,
            number=number,
            id=new_id("aud"),
            at=now,
            actor=_clean_actor(change.actor),
            action=_clean(change.action),
            subject=_clean(change.subject),
            why=_clean(change.why),
            # As they will be read back; what is digested must not depend on how the caller held it.
            facts=msgspec.json.decode(canonical_json(change.facts)),
            previous=previous,
            digest="",
        )
    )
    values = _columns(entry)
    conn.execute(insert(audit_entries).values(values))
    conn.execute(update(audit_chain).where(audit_chain.c.name == _CHAIN).values(digest=entry.digest))
    if change.event is not None:
        shared = ("number", "at", "subject", "facts", "actor_id", "actor_kind", "actor_name", "model")
        event = {name: values[name] for name in shared}
        event |= {"format": events.FORMAT, "id": new_id("evt"), "kind": _clean(change.event)}
        conn.execute(insert(events.events).values(event))
    request_keys.claim_key(conn, number, now)
    return entry


def head(conn: Connection) -> Head:
    """The end of the chain; number 0 before the first entry."""
    row = conn.execute(select(audit_chain).where(audit_chain.c.name == _CHAIN)).one_or_none()
    return Head(0, GENESIS) if row is None else Head(row.number, row.digest)


def list_entries(
    conn: Connection,
    *,
    model: str | None = None,
    subject: str | None = None,
    action: str | None = None,
    actor: str | None = None,
    after: int = 0,
    before: int | None = None,
    limit: int = 100,
    newest_first: bool = False,
) -> list[Entry]:
    """Entries with numbers between `after` and `before` (both exclusive) that fit; `actor` is an actor's id."""
    query = select(audit_entries).where(audit_entries.c.number > after)
    if before is not None:
        query = query.where(audit_entries.c.number < before)
    wanted = {"model": model, "subject": subject, "action": action, "actor_id": actor}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(audit_entries.c[name] == value)
    column = audit_entries.c.number
    rows = conn.execute(query.order_by(column.desc() if newest_first else column).limit(limit))
    return [read_entry(row) for row in rows]


def export_entries(conn: Connection) -> Iterator[bytes]:
    """The whole chain, oldest first, one line of canonical JSON an entry.

    An auditor can verify it without us: a line without its `"digest":"…",` has that SHA-256, and the next line
    names it as its `previous`.
    """
    query = select(audit_entries).order_by(audit_entries.c.number)
    rows = conn.execute(query, execution_options={"yield_per": 1000})
    for row in rows:
        entry = read_entry(row)
        yield canonical_json(_content(entry) | {"digest": entry.digest}) + b"\n"


def digest_of(entry: Entry) -> str:
    """The digest that an entry's content asks for."""
    return digest_json(_content(entry))


def read_entry(row: Row[Any]) -> Entry:
    """The entry in a row of `audit_entries`."""
    return Entry(
        format=row.format,
        number=row.number,
        id=row.id,
        at=row.at,
        actor=Actor(row.actor_name, row.actor_kind, row.actor_id),
        action=row.action,
        subject=row.subject,
        why=row.why,
        facts=row.facts,
        previous=row.previous,
        digest=row.digest,
    )


def model_of(facts: dict[str, Any]) -> str | None:
    """The model that facts are about, as it is kept in a column of its own."""
    model = facts.get("model")
    return model if isinstance(model, str) else None


def _next(conn: Connection) -> tuple[int, str]:
    """The next number, whose row stays locked until the commit, and the digest of the entry before."""
    mine = update(audit_chain).where(audit_chain.c.name == _CHAIN)
    row = conn.execute(
        mine.values(number=audit_chain.c.number + 1).returning(audit_chain.c.number, audit_chain.c.digest)
    ).one_or_none()
    if row is not None:
        return row.number, row.digest
    conn.execute(insert(audit_chain).values(name=_CHAIN, number=1, digest=GENESIS))
    return 1, GENESIS


def _content(entry: Entry) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(entry, builtin_types=(datetime,))
    del content["digest"]
    return content | {"at": isoformat(entry.at)}


def _sealed(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, digest=digest_of(entry))


def _columns(entry: Entry) -> dict[str, Any]:
    columns = msgspec.structs.asdict(entry)
    actor = columns.pop("actor")
    return columns | {
        "actor_id": actor.id,
        "actor_kind": actor.kind,
        "actor_name": actor.name,
        "model": model_of(entry.facts),
    }


def _clean_actor(actor: Actor) -> Actor:
    return Actor(_clean(actor.name), actor.kind, _clean(actor.id))


def _clean(text: str) -> str:
    # PostgreSQL's text can't hold U+0000, and a note must not be lost over it.
    return text.replace("\x00", "\ufffd")
