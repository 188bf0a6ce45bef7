"""Retrainings: what was decided at which model time, on which signal, on which rows, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Column, Connection, Index, Integer, String, Table, Text, insert, select, update

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.clock import isoformat
from flyball.core.errors import RetrainingNotFound
from flyball.core.ids import derived_id

State = Literal["asked", "wanted", "running", "ready", "refused", "kept", "failed", "cancelled"]
UNFINISHED = ("wanted", "running")

retrainings = Table(
    "retrainings",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("signal_id", String(40)),
    Column("incident_id", String(40)),
    Column("state", String(16), nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("rows_until", UtcDateTime, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("data_choice", Json, nullable=False),
    Column("root_snapshot", String(71)),
    Column("snapshot", String(71)),
    Column("run_id", String(40)),
    Column("version", Integer),
    Column("rollout_id", String(40)),
    Column("because", Text, nullable=False),
    Column("result", Text),
    Column("actor", String(80), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_retrainings_model_decided_at", "model", "decided_at"),
    Index("ix_retrainings_run_id", "run_id"),
    Index("ix_retrainings_state", "state"),
)


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining. `decided_at` and `rows_until` are model time: no row is used whose outcome became known after
    `decided_at`, nor one from `rows_until` on, where nothing was judged yet.

    State: `asked` (waits for approvals), `wanted`, `running`, then `ready` (a version passed its gates), `refused` (it
    did not), `kept` (no window of rows promised a better model), `failed` or `cancelled`. `data_choice` is the table
    of windows that were tried, with their losses; `because` why it was decided, `result` how it ended.
    """

    id: str
    model: str
    signal_id: str | None
    incident_id: str | None
    state: State
    decided_at: datetime
    rows_until: datetime
    champion: int
    data_choice: dict[str, Any]
    root_snapshot: str | None
    snapshot: str | None
    run_id: str | None
    version: int | None
    rollout_id: str | None
    because: str
    result: str | None
    actor: str
    created_at: datetime
    finished_at: datetime | None


def retraining_id(model: str, window_end: datetime) -> str:
    """One id per model and window: a thousand alarms about one window ask for one retraining."""
    return derived_id("rtn", model, isoformat(window_end))


def save_new(conn: Connection, retraining: Retraining) -> bool:
    """Write a new retraining. Returns False, and changes nothing, if there is one of this id."""
    if find_retraining(conn, retraining.id) is not None:
        return False
    conn.execute(insert(retrainings).values(**msgspec.structs.asdict(retraining)))
    return True


def change(conn: Connection, retraining_id: str, **values: Any) -> Retraining:
    """Change columns of a retraining; returns it as it then is. Raises RetrainingNotFound."""
    conn.execute(update(retrainings).where(retrainings.c.id == retraining_id).values(**values))
    return get_retraining(conn, retraining_id)


def get_retraining(conn: Connection, retraining_id: str) -> Retraining:
    """One retraining. Raises RetrainingNotFound."""
    found = find_retraining(conn, retraining_id)
    if found is None:
        raise RetrainingNotFound(retraining_id)
    return found


def find_retraining(conn: Connection, retraining_id: str) -> Retraining | None:
    """One retraining, or None."""
    row = conn.execute(select(retrainings).where(retrainings.c.id == retraining_id)).one_or_none()
    return None if row is None else Retraining(**row._mapping)


def find_by_run(conn: Connection, run_id: str) -> Retraining | None:
    """The retraining that started a run, or None."""
    row = conn.execute(select(retrainings).where(retrainings.c.run_id == run_id).limit(1)).one_or_none()
    return None if row is None else Retraining(**row._mapping)


def find_by_version(conn: Connection, model: str, number: int) -> Retraining | None:
    """The retraining a version came from, or None."""
    row = conn.execute(
        select(retrainings)
        .where(retrainings.c.model == model, retrainings.c.version == number)
        .order_by(retrainings.c.decided_at)
        .limit(1)
    ).one_or_none()
    return None if row is None else Retraining(**row._mapping)


def list_retrainings(
    conn: Connection,
    model: str | None = None,
    *,
    incident_id: str | None = None,
    states: tuple[str, ...] = (),
    limit: int = 100,
) -> list[Retraining]:
    """Retrainings, newest decision first."""
    query = select(retrainings)
    if model is not None:
        query = query.where(retrainings.c.model == model)
    if incident_id is not None:
        query = query.where(retrainings.c.incident_id == incident_id)
    if states:
        query = query.where(retrainings.c.state.in_(states))
    rows = conn.execute(query.order_by(retrainings.c.decided_at.desc(), retrainings.c.id).limit(limit)).all()
    return [Retraining(**row._mapping) for row in rows]


def is_training(conn: Connection, model: str) -> bool:
    """Whether a retraining of the model is decided and not finished."""
    query = select(retrainings.c.id).where(retrainings.c.model == model, retrainings.c.state.in_(UNFINISHED))
    return conn.execute(query.limit(1)).first() is not None
