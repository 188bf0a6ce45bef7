"""Approvals: a person's word on exactly these bytes. Another digest needs another word."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Column, Index, String, Table, Text, insert, select
from sqlalchemy.engine import Connection

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.errors import BadInput, NotAPerson, OwnApproval
from flyball.core.ids import new_id
from flyball.core.values import Actor
from flyball.governance.journal import Change, record

Answer = Literal["approved", "rejected", "withdrawn"]

_ACTIONS: dict[Answer, str] = {
    "approved": "approval.given",
    "rejected": "approval.refused",
    "withdrawn": "approval.withdrawn",
}

approvals = Table(
    "approvals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("answer", String(16), nullable=False),
    Column("actor_id", String(255), nullable=False),
    Column("actor_name", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_approvals_digest", "digest"),
)


class Approval(msgspec.Struct, frozen=True):
    """One person's answer about one subject in exactly one state."""

    id: str
    subject: str
    digest: str  # of artifact, configuration and evidence together
    answer: Answer
    actor_id: str
    actor_name: str
    why: str
    at: datetime


def approve(
    conn: Connection,
    *,
    subject: str,
    digest: str,
    actor: Actor,
    author_id: str | None,
    why: str,
    now: datetime,
    model: str | None = None,
) -> Approval:
    """Record a person's yes, with audit entry and event "approval.given".

    author_id: who made what is approved, who may not give it. Raises OwnApproval, NotAPerson, and BadInput without a
    reason.
    """
    return _answer(conn, "approved", subject, digest, actor, author_id, why, now, model)


def reject(
    conn: Connection,
    *,
    subject: str,
    digest: str,
    actor: Actor,
    why: str,
    now: datetime,
    model: str | None = None,
) -> Approval:
    """Record a person's no, with audit entry and event "approval.refused". Raises NotAPerson, BadInput."""
    return _answer(conn, "rejected", subject, digest, actor, None, why, now, model)


def withdraw(
    conn: Connection,
    *,
    subject: str,
    digest: str,
    actor: Actor,
    why: str,
    now: datetime,
    model: str | None = None,
) -> Approval:
    """Take back one's own answer, with audit entry and event "approval.withdrawn". Raises NotAPerson, BadInput."""
    return _answer(conn, "withdrawn", subject, digest, actor, None, why, now, model)


def list_approvals(conn: Connection, digest: str, subject: str | None = None) -> list[Approval]:
    """Every answer about this digest, oldest first."""
    query = select(approvals).where(approvals.c.digest == digest)
    if subject is not None:
        query = query.where(approvals.c.subject == subject)
    return [Approval(**row._mapping) for row in conn.execute(query.order_by(approvals.c.id))]


def list_standing(conn: Connection, subject: str, digest: str) -> list[Approval]:
    """The last answer of each person about this digest, unless that person took it back."""
    last = {found.actor_id: found for found in list_approvals(conn, digest, subject)}
    return [found for found in last.values() if found.answer != "withdrawn"]


def count_approvals(conn: Connection, subject: str, digest: str) -> int:
    """How many people approve of this digest; each by their last answer. Any rejection that stands makes it 0."""
    answers = [found.answer for found in list_standing(conn, subject, digest)]
    return 0 if "rejected" in answers else len(answers)


def _answer(
    conn: Connection,
    answer: Answer,
    subject: str,
    digest: str,
    actor: Actor,
    author_id: str | None,
    why: str,
    now: datetime,
    model: str | None,
) -> Approval:
    if actor.kind != "person":
        raise NotAPerson(f"{actor.name} is no person; approvals are given by people", actor=actor.id)
    # By id: a new name, token or group does not make another person.
    if author_id is not None and actor.id == author_id:
        raise OwnApproval(f"{actor.name} made {subject}; somebody else has to approve it", actor=actor.id)
    if not why.strip():
        raise BadInput("an answer needs its reason; give one with --why")
    given = Approval(new_id("apr"), subject, digest, answer, actor.id, actor.name, why, now)
    conn.execute(insert(approvals).values(msgspec.structs.asdict(given)))
    facts = {"approval": given.id, "digest": digest}
    if model is not None:
        facts["model"] = model
    action = _ACTIONS[answer]
    record(conn, Change(actor=actor, action=action, subject=subject, why=why, facts=facts, event=action), now)
    return given
