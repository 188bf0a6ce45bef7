"""Incidents: one per model and problem, with a timeline of signals, actions, notes and the result."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.clock import isoformat
from flyball.core.errors import BadInput, Conflict, IncidentNotFound
from flyball.core.ids import derived_id
from flyball.core.values import Actor
from flyball.governance.actors import SYSTEM
from flyball.governance.journal import Change, record

Problem = Literal["data", "change", "service"]
EntryKind = Literal["signal", "action", "note", "result"]
LONGEST_NOTE = 4_000

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("problem", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("cause", String(32), nullable=False),
    Column("title", Text, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("opened_wall_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime),
    Column("resolved_wall_at", UtcDateTime),
    Column("hold", Boolean, nullable=False),
    Column("facts", Json, nullable=False),
    Index("ix_incidents_model_state", "model", "state"),
)

incident_entries = Table(
    "incident_entries",
    metadata,
    Column("incident_id", String(40), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("model_time", UtcDateTime),
    Column("kind", String(16), nullable=False),
    Column("ref", String(80)),
    Column("text", Text, nullable=False),
    Column("actor", String(80), nullable=False),
)


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Signals and actions on one problem of one model.

    `problem`: `data` (what comes in is broken), `change` (the world or the model's fit to it), `service`. `opened_at`
    and `resolved_at` are model time, the `…_wall_at` wall time. While `hold` is set nothing is trained.
    """

    id: str
    model: str
    problem: Problem
    state: Literal["open", "resolved"]
    cause: str
    title: str
    opened_at: datetime
    opened_wall_at: datetime
    resolved_at: datetime | None
    resolved_wall_at: datetime | None
    hold: bool
    facts: dict[str, Any]


class IncidentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an incident's timeline: `at` wall time, `model_time` where it belongs on the model's clock."""

    incident_id: str
    sequence: int
    at: datetime
    model_time: datetime | None
    kind: EntryKind
    ref: str | None
    text: str
    actor: str


def open_incident(
    conn: Connection,
    *,
    model: str,
    problem: Problem,
    cause: str,
    title: str,
    hold: bool,
    facts: dict[str, Any],
    at: datetime,
    now: datetime,
) -> Incident:
    """A new open incident, with its event and audit entry. at: model time; now: wall time."""
    incident = Incident(
        id=derived_id("inc", model, problem, isoformat(at)),
        model=model,
        problem=problem,
        state="open",
        cause=cause,
        title=title,
        opened_at=at,
        opened_wall_at=now,
        resolved_at=None,
        resolved_wall_at=None,
        hold=hold,
        facts=facts,
    )
    conn.execute(insert(incidents).values(**msgspec.structs.asdict(incident)))
    _journal(conn, incident, "incident.opened", title, SYSTEM, at, now)
    return incident


def add_entry(
    conn: Connection,
    incident_id: str,
    kind: EntryKind,
    text: str,
    *,
    ref: str | None = None,
    model_time: datetime | None,
    now: datetime,
    actor: Actor = SYSTEM,
    once: bool = False,
) -> bool:
    """Add a line to the timeline. With `once`, a line of the same kind and words is not written again (False).

    The caller's transaction holds the change that the line tells of, with that change's own audit entry.
    """
    table = incident_entries.c
    if (
        once
        and conn.execute(
            select(table.sequence).where(
                table.incident_id == incident_id, table.kind == kind, table.text == text
            )
        ).first()
    ):
        return False
    last = conn.execute(select(func.max(table.sequence)).where(table.incident_id == incident_id)).scalar()
    conn.execute(
        insert(incident_entries).values(
            incident_id=incident_id,
            sequence=(last or 0) + 1,
            at=now,
            model_time=model_time,
            kind=kind,
            ref=ref,
            text=text,
            actor=actor.name,
        )
    )
    return True


def add_note(conn: Connection, incident_id: str, text: str, *, actor: Actor, now: datetime) -> None:
    """A person's note in the timeline. Raises IncidentNotFound, BadInput for an empty or overlong note."""
    incident = get_incident(conn, incident_id)
    text = text.strip()
    if not 0 < len(text) <= LONGEST_NOTE:
        raise BadInput(f"a note has 1 to {LONGEST_NOTE} characters, this one has {len(text)}")
    add_entry(conn, incident_id, "note", text, model_time=None, now=now, actor=actor)
    facts = {"model": incident.model, "incident_id": incident_id, "text": text}
    record(
        conn,
        Change(
            actor=actor, action="incident.noted", subject=f"incident:{incident_id}", why=text, facts=facts
        ),
        now,
    )


def change_incident(
    conn: Connection, incident_id: str, *, facts: dict[str, Any], cause: str | None = None, hold: bool = False
) -> None:
    """Bring facts, cause and hold up to date; a hold is set here and lifted only by the resolution."""
    values: dict[str, Any] = {"facts": facts}
    if cause is not None:
        values["cause"] = cause
    if hold:
        values["hold"] = True
    conn.execute(update(incidents).where(incidents.c.id == incident_id).values(**values))


def resolve_incident(
    conn: Connection, incident_id: str, because: str, *, at: datetime, now: datetime, actor: Actor = SYSTEM
) -> Incident:
    """Close an incident: its result, event and audit entry. Raises IncidentNotFound, Conflict if it is closed."""
    incident = get_incident(conn, incident_id)
    if incident.state == "resolved":
        raise Conflict(
            f"{incident_id} was resolved already, at {incident.resolved_at}", incident_id=incident_id
        )
    conn.execute(
        update(incidents)
        .where(incidents.c.id == incident_id)
        .values(state="resolved", resolved_at=at, resolved_wall_at=now, hold=False)
    )
    add_entry(conn, incident_id, "result", because, model_time=at, now=now, actor=actor)
    _journal(conn, incident, "incident.resolved", because, actor, at, now)
    return get_incident(conn, incident_id)


def get_incident(conn: Connection, incident_id: str) -> Incident:
    """One incident. Raises IncidentNotFound."""
    row = conn.execute(select(incidents).where(incidents.c.id == incident_id)).one_or_none()
    if row is None:
        raise IncidentNotFound(incident_id)
    return Incident(**row._mapping)


def find_open_incident(conn: Connection, model: str, problem: Problem | None = None) -> Incident | None:
    """The newest open incident of a model (on one problem, when one is given), or None."""
    query = select(incidents).where(incidents.c.model == model, incidents.c.state == "open")
    if problem is not None:
        query = query.where(incidents.c.problem == problem)
    row = conn.execute(query.order_by(incidents.c.opened_at.desc()).limit(1)).one_or_none()
    return None if row is None else Incident(**row._mapping)


def list_incidents(
    conn: Connection, model: str | None = None, *, state: str | None = None, limit: int = 100
) -> list[Incident]:
    """Incidents, newest first."""
    query = select(incidents)
    if model is not None:
        query = query.where(incidents.c.model == model)
    if state is not None:
        query = query.where(incidents.c.state == state)
    rows = conn.execute(query.order_by(incidents.c.opened_at.desc(), incidents.c.id).limit(limit)).all()
    return [Incident(**row._mapping) for row in rows]


def list_entries(conn: Connection, incident_id: str, *, limit: int = 500) -> list[IncidentEntry]:
    """An incident's timeline in the order it was written."""
    table = incident_entries
    rows = conn.execute(
        select(table).where(table.c.incident_id == incident_id).order_by(table.c.sequence).limit(limit)
    ).all()
    return [IncidentEntry(**row._mapping) for row in rows]


def is_held(conn: Connection, model: str) -> bool:
    """Whether an open incident of the model forbids training."""
    query = select(incidents.c.id).where(
        incidents.c.model == model, incidents.c.state == "open", incidents.c.hold
    )
    return conn.execute(query.limit(1)).first() is not None


def _journal(
    conn: Connection, incident: Incident, action: str, why: str, actor: Actor, at: datetime, now: datetime
) -> None:
    facts = {
        "model": incident.model,
        "incident_id": incident.id,
        "problem": incident.problem,
        "cause": incident.cause,
        "title": incident.title,
        "hold": incident.hold and action == "incident.opened",
        "model_time": isoformat(at),
        "because": why,
    }
    subject = f"incident:{incident.id}"
    record(conn, Change(actor=actor, action=action, subject=subject, why=why, facts=facts, event=action), now)
