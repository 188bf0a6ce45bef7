"""One turn of the loop's analysis: fold the log, analyse closed windows, look at rollouts.

Everything decided here is a function of event times (decision 0002): a window or a day is settled once model time is
a little past the moment at which its outcomes are due, so that segments still on their way are not missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flyball.core.clock import isoformat
from flyball.core.durations import parse_duration
from flyball.operations.opening import Backends

if TYPE_CHECKING:
    from flyball.data.fold_memory import FoldMemory

LEASE = "controller"  # who turns the loop holds it
SETTLE_LIMIT = timedelta(minutes=5)
SETTLE_SHARE = 20


def settle_time(window: timedelta) -> timedelta:
    """How much model time passes after a due moment before it is decided: 1/20 of a window, at most 5 minutes.

    Segments of the prediction log arrive within seconds, not at once; a decision taken at the due moment itself
    would depend on which worker's segment came first.
    """
    return min(SETTLE_LIMIT, window / SETTLE_SHARE)


def take_turn(backends: Backends, wall: datetime, memory: FoldMemory | None = None) -> dict[str, Any]:
    """Fold what has arrived and decide what is due; per model its clock and the next moment something is due.

    Windows of a model whose schedules are external are judged only when somebody has asked for it.
    Runs under the controller's lease. Repeating a turn decides nothing twice. memory: what a process that folds again
    and again remembers of the log's keys.
    """
    from flyball.data.ingest import LogSchema, fold
    from flyball.data.model_time import find_clock, is_provisional
    from flyball.delivery.look import look_all
    from flyball.monitoring.asked import list_waiting_asks, note_answered
    from flyball.monitoring.watch import analyse_due
    from flyball.registry.routes import list_deployed, project_of

    database, blobs, tables_url = backends.database, backends.blobs, backends.tables_url
    schemas, projects = {}, {}
    with database.read() as conn:
        asked = list_waiting_asks(conn)
        for deployment in list_deployed(conn):
            project = projects[deployment.model] = project_of(deployment)
            schemas[deployment.model] = LogSchema(
                task=project.model.task,
                contract=deployment.contract,
                hashed=tuple(project.log.hash),
                has_time=project.model.time is not None,
            )
    report = fold(database, blobs, tables_url, schemas, wall, memory=memory)
    settled: dict[str, datetime] = {}
    signals = 0
    for model, project in projects.items():
        with database.read() as conn:
            clock = find_clock(conn, model)
        if clock is None:
            continue
        settled[model] = clock.now(wall) - settle_time(parse_duration(project.monitor.window))
        if project.schedules == "external" and model not in asked.models:
            continue
        # Where watching begins is noted once, so it waits for an event time, which may lie years back.
        if is_provisional(clock, wall, has_time=project.model.time is not None):
            continue
        signals += len(analyse_due(database, blobs, tables_url, model, settled[model], wall))
    applied = look_all(database, blobs, tables_url, settled, wall)
    if asked.models:
        with database.write() as conn:
            note_answered(conn, asked, wall)
    return {
        "folded": report.segments,
        "signals": signals,
        "transitions": len(applied),
        "models": {model: _standing(backends, model, at, projects[model]) for model, at in settled.items()},
    }


def _standing(backends: Backends, model: str, settled: datetime, project: Any) -> dict[str, Any]:
    from flyball.data.log_counts import get_counts
    from flyball.delivery import due as delivery_due
    from flyball.delivery.rollouts import find_unfinished
    from flyball.monitoring import due as monitoring_due

    with backends.database.read() as conn:
        moments = [delivery_due.next_due(conn, model)]
        if project.schedules == "internal":
            moments.append(monitoring_due.next_due(conn, model))
        rolling = find_unfinished(conn, model) is not None
        counts = get_counts(conn, model)
    settle = settle_time(parse_duration(project.monitor.window))
    known = [moment for moment in moments if moment is not None]
    return {
        "predictions": counts.predictions,
        "outcomes": counts.outcomes,
        "pending_outcomes": counts.pending,
        "decided_through": isoformat(settled),
        "next_decision_at": isoformat(min(known) + settle) if known else None,
        "rolling": rolling,
    }
