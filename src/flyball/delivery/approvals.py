"""How many people's approvals a rollout still waits for."""

from __future__ import annotations

from sqlalchemy import Connection

from flyball.delivery.rollouts import Rollout
from flyball.governance.approvals import count_approvals, list_approvals


def subject_of(rollout: Rollout) -> str:
    """What people approve: this version of this model, and by its digest exactly these bytes."""
    return f"version:{rollout.model}@{rollout.candidate}"


def approvals_left(conn: Connection, rollout: Rollout) -> int:
    """Approvals that are missing; 0 when none are asked for or all are given."""
    if rollout.approvals <= 0:
        return 0
    return max(0, rollout.approvals - count_approvals(conn, subject_of(rollout), rollout.digest))


def find_rejection(conn: Connection, rollout: Rollout) -> str | None:
    """Who rejected the version and why, where a rejection stands."""
    last = {given.actor_id: given for given in list_approvals(conn, rollout.digest, subject_of(rollout))}
    for given in last.values():
        if given.answer == "rejected":
            return f"rejected by {given.actor_name}: {given.why}"
    return None
