"""Evidence: facts about a version, appended and never edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Integer, String, Table, func, insert, select

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.ids import new_id
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.registry.versions import get_version

evidence = Table(
    "evidence",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("facts", Json, nullable=False),
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One fact about a version. `kind`: metrics, gate, check, comparison, rollout, rollback, fault, origin, …

    `seq` counts a version's facts from 1.
    """

    id: str
    model: str
    number: int
    seq: int
    kind: str
    at: datetime
    actor: str
    facts: dict[str, Any]


def add_evidence(
    conn: Connection,
    model: str,
    number: int,
    kind: str,
    facts: dict[str, Any],
    *,
    actor: Actor,
    now: datetime,
) -> Evidence:
    """Add a fact to a version, in the caller's write transaction; with event and audit entry.

    Raises ModelNotFound, VersionNotFound.
    """
    get_version(conn, model, number)
    this = (evidence.c.model == model) & (evidence.c.number == number)
    highest = conn.execute(select(func.max(evidence.c.seq)).where(this)).scalar()
    added = Evidence(
        id=new_id("evd"),
        model=model,
        number=number,
        seq=(highest or 0) + 1,
        kind=kind,
        at=now,
        actor=actor.name,
        facts=facts,
    )
    conn.execute(insert(evidence).values(msgspec.structs.asdict(added)))
    change = Change(
        actor=actor,
        action="evidence.added",
        subject=f"version:{model}@{number}",
        why=str(facts.get("because") or ""),
        facts={"model": model, "version": number, "evidence_id": added.id, "kind": kind, "facts": facts},
        event="evidence.added",
    )
    record(conn, change, now)
    return added


def list_evidence(
    conn: Connection, model: str, number: int, kind: str | None = None, *, limit: int = 1000
) -> list[Evidence]:
    """What is known about a version, oldest first; of one kind, when one is named."""
    query = select(evidence).where(evidence.c.model == model, evidence.c.number == number)
    if kind is not None:
        query = query.where(evidence.c.kind == kind)
    return [Evidence(**row._mapping) for row in conn.execute(query.order_by(evidence.c.seq).limit(limit))]
