"""Evidence: signed-off facts about a version. Appended, never edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Index, Integer, String, Table, insert, select

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.ids import new_id
from flyball.governance.actors import Actor
from flyball.governance.journal import Change, record

evidence = Table(
    "evidence",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("facts", Json, nullable=False),
    Index("ix_evidence_model_number", "model", "number"),
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One fact: `kind` is metric, check, gate, comparison, reproduction, approval, rollout, fault or package."""

    id: str
    model: str
    number: int
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
    """Append a fact about a version, with its audit entry, in the caller's transaction."""
    added = Evidence(
        id=new_id("evd"), model=model, number=number, kind=kind, at=now, actor=actor.name, facts=facts
    )
    conn.execute(insert(evidence).values(**msgspec.structs.asdict(added)))
    change = Change(
        actor=actor,
        action="evidence.added",
        subject=f"version:{model}@{number}",
        why=str(facts.get("because") or kind),
        facts={"model": model, "version": number, "kind": kind, "evidence_id": added.id},
        event=None,
    )
    record(conn, change, now)
    return added


def list_evidence(
    conn: Connection, model: str, number: int, *, kind: str | None = None, limit: int = 1000
) -> list[Evidence]:
    """The facts about a version, oldest first."""
    query = select(evidence).where(evidence.c.model == model, evidence.c.number == number)
    if kind is not None:
        query = query.where(evidence.c.kind == kind)
    return [Evidence(**row._mapping) for row in conn.execute(query.order_by(evidence.c.id).limit(limit))]
