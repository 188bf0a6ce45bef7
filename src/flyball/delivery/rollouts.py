"""Rollouts: the journeys of candidates to champion, as rows: where each stands, since when, on which evidence."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Column, Connection, Index, Integer, String, Table, Text, insert, select, update

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.errors import RolloutNotFound
from flyball.core.project import RolloutSection

State = Literal["waiting", "running", "paused", "promoted", "aborted", "undecided", "rolled_back"]
LIVE = ("running", "paused")
UNFINISHED = ("waiting", *LIVE)
# In the column, which holds no null; versions are numbered from 1.
_NO_CHAMPION = 0

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("champion", Integer, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("strategy", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("step", Integer, nullable=False),
    Column("salt", String(64), nullable=False),
    Column("approvals", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("started_model_at", UtcDateTime, nullable=False),
    Column("step_started_at", UtcDateTime, nullable=False),
    Column("looked_until", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("ended_model_at", UtcDateTime),
    Column("settings", Json, nullable=False),
    Column("project", Json, nullable=False),
    Column("steps", Json, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("incident_id", String(40)),
    Column("signal_id", String(40)),
    Column("why", Text, nullable=False),
    Column("because", Text),
    Column("actor", String(80), nullable=False),
    Index("ix_rollouts_model_state", "model", "state"),
)


class RolloutStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was taken: its share of keys (0 to 1), the deployment revision that carries it, and since when.

    `at` is wall time, `model_time` the model's.
    """

    step: int
    share: float
    revision: int
    at: datetime
    model_time: datetime


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout. `…_model_at` and `looked_until` are model time, the other moments wall time.

    `waiting`: `approvals` people have not approved yet. `paused`: a person (or a sample-ratio mismatch) holds it, the
    present step stays. `undecided`: time ran out and the candidate was taken back. `rolled_back`: a person went back
    while it ran. `champion` is None for a model's first version, which waits for approvals and nothing else.
    `looked_until`: the day boundary up to which a shadow's daily differences were judged. `evidence`:
    the last look, guard by guard.
    `project` comes into force when the candidate is promoted.
    """

    id: str
    model: str
    champion: int | None
    candidate: int
    digest: str
    strategy: Literal["canary", "shadow", "blue-green", "immediate"]
    state: State
    step: int
    salt: str
    approvals: int
    started_at: datetime
    started_model_at: datetime
    step_started_at: datetime
    looked_until: datetime | None
    ended_at: datetime | None
    ended_model_at: datetime | None
    settings: RolloutSection
    project: dict[str, Any]
    steps: list[RolloutStep]
    evidence: dict[str, Any]
    incident_id: str | None
    signal_id: str | None
    why: str
    because: str | None
    actor: str


def save_new(conn: Connection, rollout: Rollout) -> None:
    """Write a new rollout."""
    conn.execute(insert(rollouts).values(**_columns(msgspec.structs.asdict(rollout))))


def change(conn: Connection, rollout_id: str, **values: Any) -> Rollout:
    """Change columns of a rollout; returns it as it then is. Raises RolloutNotFound."""
    conn.execute(update(rollouts).where(rollouts.c.id == rollout_id).values(**_columns(values)))
    return get_rollout(conn, rollout_id)


def get_rollout(conn: Connection, rollout_id: str) -> Rollout:
    """One rollout. Raises RolloutNotFound."""
    row = conn.execute(select(rollouts).where(rollouts.c.id == rollout_id)).one_or_none()
    if row is None:
        raise RolloutNotFound(f"there is no rollout {rollout_id}", rollout_id=rollout_id)
    return _read(row._mapping)


def is_known(conn: Connection, rollout_id: str) -> bool:
    """Whether there is a rollout of that id, however it ended."""
    return conn.execute(select(rollouts.c.id).where(rollouts.c.id == rollout_id)).first() is not None


def find_unfinished(conn: Connection, model: str) -> Rollout | None:
    """The rollout of a model that waits, runs or is paused, or None. There is at most one."""
    query = select(rollouts).where(rollouts.c.model == model, rollouts.c.state.in_(UNFINISHED))
    row = conn.execute(query.order_by(rollouts.c.started_at.desc()).limit(1)).one_or_none()
    return None if row is None else _read(row._mapping)


def find_running(conn: Connection, model: str) -> Rollout | None:
    """The rollout of a model whose candidate is deployed now (running or paused), or None."""
    found = find_unfinished(conn, model)
    return found if found is not None and found.state in LIVE else None


def get_unfinished(conn: Connection, model: str) -> Rollout:
    """The rollout of a model that waits, runs or is paused. Raises RolloutNotFound."""
    found = find_unfinished(conn, model)
    if found is None:
        raise RolloutNotFound(
            f"no candidate of {model} is being rolled out; `flyball deploy {model}@VERSION` starts a rollout",
            model=model,
        )
    return found


def list_rollouts(
    conn: Connection,
    model: str | None = None,
    *,
    states: tuple[str, ...] = (),
    incident_id: str | None = None,
    limit: int = 100,
) -> list[Rollout]:
    """Rollouts, newest first."""
    query = select(rollouts)
    if model is not None:
        query = query.where(rollouts.c.model == model)
    if states:
        query = query.where(rollouts.c.state.in_(states))
    if incident_id is not None:
        query = query.where(rollouts.c.incident_id == incident_id)
    rows = conn.execute(query.order_by(rollouts.c.started_at.desc(), rollouts.c.id).limit(limit)).all()
    return [_read(row._mapping) for row in rows]


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    columns = {
        name: msgspec.to_builtins(value) if name in ("settings", "steps", "evidence") else value
        for name, value in values.items()
    }
    if "champion" in columns and columns["champion"] is None:
        columns["champion"] = _NO_CHAMPION
    return columns


def _read(row: Any) -> Rollout:
    values = dict(row)
    values["settings"] = msgspec.convert(values["settings"], RolloutSection)
    values["steps"] = msgspec.convert(values["steps"], list[RolloutStep])
    if values["champion"] == _NO_CHAMPION:
        values["champion"] = None
    return Rollout(**values)
