"""When the next look at a rollout may decide something. SQL only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from flyball.core.durations import parse_duration
from flyball.delivery.rollouts import Rollout, find_running

_DAY = timedelta(days=1)


def next_due(conn: Connection, model: str) -> datetime | None:
    """The model time at which the next day of a shadow may be judged; None where none runs.

    A canary is looked at whenever something new was logged: no moment of model time is special to it.
    """
    rollout = find_running(conn, model)
    if rollout is None or rollout.state != "running" or rollout.strategy == "canary":
        return None
    delay = parse_duration(rollout.project["data"]["outcome_delay"])
    return next_day(rollout) + delay


def first_day(rollout: Rollout) -> datetime:
    """The UTC day on which the rollout began, by the model's clock."""
    return rollout.started_model_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def next_day(rollout: Rollout) -> datetime:
    """The end of the first day that was not judged yet."""
    return (rollout.looked_until or first_day(rollout)) + _DAY
