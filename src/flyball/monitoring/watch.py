"""The watch: every window that is due is read from the log, judged for its own moment, and acted on, each once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flyball.backends.blobs.store import BlobStore
from flyball.backends.db.database import Database
from flyball.judge.drift.profile import Summary
from flyball.monitoring.incidents import find_open_incident
from flyball.monitoring.judgement import Past, judge_window
from flyball.monitoring.measure import SERVED, champion_of, measure_window
from flyball.monitoring.plan import Look, MonitorPlan, due_looks, next_start, plan_of
from flyball.monitoring.raising import PROBLEMS, commit_look, since_of
from flyball.monitoring.reference import Standard, load_standard
from flyball.monitoring.signals import Signal
from flyball.monitoring.windows import (
    Window,
    find_last_window,
    find_watch_start,
    list_waiting,
    list_windows,
    save_watch_start,
)
from flyball.registry.routes import current, project_of
from flyball.registry.versions import get_version

if TYPE_CHECKING:
    import polars as pl

# How many judged windows are looked back upon; more would only slow the look down.
HISTORY = 400
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def analyse_due(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    model: str,
    model_now: datetime,
    wall_now: datetime,
) -> list[Signal]:
    """Judge every window of a model that is due at a model time, oldest first; the signals that were raised.

    Each judgement uses the outcomes known at its own moment and nothing newer, so it does not matter how late it is
    made. Windows, signals, incidents and events of one judgement are one transaction; repeating it does nothing.
    """
    plan = _find_plan(database, model)
    if plan is None:
        return []
    start = _watch_start(database, tables_url, model, model_now)
    if start is None:
        return []
    with database.read() as conn:
        last = find_last_window(conn, model)
        waiting = list_waiting(conn, model)
    first = next_start(plan, start, last.end if last else None)
    raised: list[Signal] = []
    for look in due_looks(plan, first, waiting, model_now):
        raised += analyse(database, blobs, tables_url, plan, look, wall_now)
    return raised


def analyse(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    plan: MonitorPlan,
    look: Look,
    wall_now: datetime,
) -> list[Signal]:
    """Judge one window for one moment; the signals that were raised."""
    frame = _read(tables_url, plan.model, look)
    version = champion_of(frame)
    past = _read_past(database, blobs, plan, look, version)
    standard = None if version is None else _standard(database, blobs, plan.model, version)
    measure = measure_window(frame, version, standard)
    judged = judge_window(look, plan, measure, standard, past)
    with database.write() as conn:
        return commit_look(conn, look, plan, measure, judged, wall_now)


def _find_plan(database: Database, model: str) -> MonitorPlan | None:
    with database.read() as conn:
        deployment = current(conn, model)
    return None if deployment is None else plan_of(project_of(deployment))


def _watch_start(database: Database, tables_url: str, model: str, model_now: datetime) -> datetime | None:
    """Where watching begins: the first prediction ever logged, noted once."""
    from flyball.data.predictions import read_predictions

    with database.read() as conn:
        known = find_watch_start(conn, model)
    if known is not None:
        return known
    end = model_now + timedelta(days=1)
    first = read_predictions(tables_url, model, _BEGINNING, end, roles=SERVED, features=[])["at"].min()
    if not isinstance(first, datetime):
        return None
    with database.write() as conn:
        save_watch_start(conn, model, first)
    return first


def _read(tables_url: str, model: str, look: Look) -> pl.DataFrame:
    from flyball.data.predictions import read_labelled, read_predictions

    if look.part == "inputs":
        return read_predictions(tables_url, model, look.start, look.end, roles=SERVED)
    return read_labelled(tables_url, model, look.start, look.end, look.at, roles=SERVED)


def _read_past(
    database: Database, blobs: BlobStore, plan: MonitorPlan, look: Look, version: int | None
) -> Past:
    with database.read() as conn:
        windows = list_windows(conn, plan.model, before=look.start, limit=HISTORY)
        opened = {problem: since_of(find_open_incident(conn, plan.model, problem)) for problem in PROBLEMS}
    return Past(
        first_inputs=_first_inputs(database, blobs, plan.model, windows, version),
        windows=windows,
        since={problem: since for problem, since in opened.items() if since is not None},
    )


def _first_inputs(
    database: Database, blobs: BlobStore, model: str, windows: list[Window], version: int | None
) -> Summary | None:
    """The training counts of the first version that was watched: what is known as healthy from the beginning."""
    first = next((window.version for window in windows if window.version is not None), version)
    if first is None:
        return None
    reference = _standard(database, blobs, model, first).reference
    return None if reference is None else reference.inputs.summary


def _standard(database: Database, blobs: BlobStore, model: str, version: int) -> Standard:
    with database.read() as conn:
        digest = get_version(conn, model, version).digest
    return load_standard(digest, blobs)
