"""Runs and their steps as rows: what was asked, how far it came, what it gave, and what later runs may reuse."""

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
    delete,
    insert,
    select,
    update,
)

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.errors import BadInput, RunNotFound
from flyball.core.ids import is_id
from flyball.core.settings import Settings
from flyball.pipelines.run_log import LOG_NAME, RunLog

RunState = Literal["running", "registered", "refused", "failed", "cancelled", "compared"]
StepState = Literal["running", "done", "failed"]

runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", Integer),
    Column("cached", Boolean, nullable=False),
    Column("fingerprint", String(71), nullable=False),
    Column("request", Json, nullable=False),
    Column("result", Json),
    Column("error", Json),
    Column("log", String(71)),
    Column("signal_id", String(40)),
    Column("actor", String(80), nullable=False),
    Column("why", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_runs_model_started_at", "model", "started_at"),
    Index("ix_runs_state", "state"),
)
run_steps = Table(
    "run_steps",
    metadata,
    Column("run_id", String(40), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("key", String(71)),
    Column("facts", Json),
    Column("error", Json),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
step_cache = Table(
    "step_cache",
    metadata,
    Column("key", String(71), primary_key=True),
    Column("step", String(40), nullable=False),
    Column("outputs", Json, nullable=False),
    Column("run_id", String(40), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `cached`: it came to a version that stood already. `log`: digest of what it printed, once it is over."""

    id: str
    model: str
    state: RunState
    version: int | None
    cached: bool
    fingerprint: str
    request: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    log: str | None
    signal_id: str | None
    actor: str
    why: str
    started_at: datetime
    finished_at: datetime | None


class RunStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run. `cached`: its outputs were there from an earlier run; `attempts`: how often it was begun."""

    run_id: str
    name: str
    position: int
    state: StepState
    cached: bool
    attempts: int
    key: str | None
    facts: dict[str, Any] | None
    error: dict[str, Any] | None
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None = None


def insert_run(conn: Connection, run: Run) -> None:
    """Write a new run."""
    conn.execute(insert(runs).values(**msgspec.structs.asdict(run)))


def finish_run(conn: Connection, run_id: str, **values: Any) -> bool:
    """End a running run with a state and what it gave. False, and nothing is changed, if it had ended before."""
    done = conn.execute(update(runs).where(runs.c.id == run_id, runs.c.state == "running").values(**values))
    return done.rowcount == 1


def get_run(conn: Connection, run_id: str) -> Run:
    """One run. Raises RunNotFound."""
    found = find_run(conn, run_id)
    if found is None:
        raise RunNotFound(run_id)
    return found


def find_run(conn: Connection, run_id: str) -> Run | None:
    """One run, or None."""
    row = conn.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    return None if row is None else Run(**row._mapping)


def list_runs(
    conn: Connection, model: str | None = None, *, state: RunState | None = None, limit: int = 100
) -> list[Run]:
    """Runs, newest first."""
    query = select(runs)
    if model is not None:
        query = query.where(runs.c.model == model)
    if state is not None:
        query = query.where(runs.c.state == state)
    rows = conn.execute(query.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)).all()
    return [Run(**row._mapping) for row in rows]


def find_unfinished(conn: Connection, fingerprint: str) -> Run | None:
    """The running run of equal requests, or None."""
    row = conn.execute(
        select(runs)
        .where(runs.c.fingerprint == fingerprint, runs.c.state == "running")
        .order_by(runs.c.started_at)
        .limit(1)
    ).one_or_none()
    return None if row is None else Run(**row._mapping)


def list_run_steps(conn: Connection, run_id: str) -> list[RunStep]:
    """The steps of a run that were begun, in order."""
    rows = conn.execute(
        select(run_steps).where(run_steps.c.run_id == run_id).order_by(run_steps.c.position)
    ).all()
    return [_step(row._mapping) for row in rows]


def begin_step(conn: Connection, run_id: str, name: str, position: int, now: datetime) -> int:
    """Note that a step is begun; how often it has been by now. More than once means: its process died in it."""
    row = conn.execute(
        select(run_steps.c.attempts).where(run_steps.c.run_id == run_id, run_steps.c.name == name)
    ).one_or_none()
    attempts = 1 if row is None else row.attempts + 1
    conn.execute(delete(run_steps).where(run_steps.c.run_id == run_id, run_steps.c.name == name))
    conn.execute(
        insert(run_steps).values(
            run_id=run_id,
            name=name,
            position=position,
            state="running",
            cached=False,
            attempts=attempts,
            started_at=now,
        )
    )
    return attempts


def end_step(conn: Connection, run_id: str, name: str, now: datetime, **values: Any) -> None:
    """Note how a step ended."""
    conn.execute(
        update(run_steps)
        .where(run_steps.c.run_id == run_id, run_steps.c.name == name)
        .values(finished_at=now, **values)
    )


def find_cached(conn: Connection, key: str) -> dict[str, Any] | None:
    """What a step gave when it was last made from the same inputs, or None."""
    outputs: dict[str, Any] | None = conn.execute(
        select(step_cache.c.outputs).where(step_cache.c.key == key)
    ).scalar_one_or_none()
    return outputs


def keep_cached(
    conn: Connection, key: str, step: str, outputs: dict[str, Any], run_id: str, now: datetime
) -> None:
    """Keep what a step gave, in place of what an earlier one gave from the same inputs."""
    conn.execute(delete(step_cache).where(step_cache.c.key == key))
    conn.execute(
        insert(step_cache).values(key=key, step=step, outputs=outputs, run_id=run_id, created_at=now)
    )


def _step(values: Any) -> RunStep:
    started, finished = values["started_at"], values["finished_at"]
    seconds = None if finished is None else (finished - started).total_seconds()
    return RunStep(**values, seconds=seconds)


def run_log(settings: Settings, run_id: str) -> RunLog:
    """What a run printed so far on this machine. Raises BadInput for what is no id of a run."""
    if not is_id(run_id, "run"):
        raise BadInput(f"{run_id!r} is no id of a run", run_id=run_id)
    return RunLog(settings.runs_folder / run_id / LOG_NAME)
