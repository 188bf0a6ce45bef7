"""When the next judgement of a model's windows is due. SQL only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from flyball.monitoring.plan import next_moment, next_start, plan_of
from flyball.monitoring.windows import find_last_window, find_watch_start, list_waiting
from flyball.registry.routes import current, project_of


def next_due(conn: Connection, model: str) -> datetime | None:
    """The model time at which the next window (or its outcomes) may be judged; None before the first prediction."""
    deployment = current(conn, model)
    first = find_watch_start(conn, model)
    if deployment is None or first is None:
        return None
    plan = plan_of(project_of(deployment))
    last = find_last_window(conn, model)
    return next_moment(plan, next_start(plan, first, last.end if last else None), list_waiting(conn, model))
