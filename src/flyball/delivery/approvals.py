"""What people said of a version: how many approvals a rollout still waits for, and whether a rejection stands."""

from __future__ import annotations

from sqlalchemy import Connection

from flyball.core.errors import Refused
from flyball.delivery.rollouts import Rollout
from flyball.governance.approvals import count_approvals, list_standing


def subject_of(model: str, number: int) -> str:
    """What people approve: this version of this model, and by its digest exactly these bytes."""
    return f"version:{model}@{number}"


def approvals_left(conn: Connection, rollout: Rollout) -> int:
    """Approvals that are missing; 0 when none are asked for or all are given."""
    if rollout.approvals <= 0:
        return 0
    subject = subject_of(rollout.model, rollout.candidate)
    return max(0, rollout.approvals - count_approvals(conn, subject, rollout.digest))


def find_rejection(conn: Connection, model: str, number: int, digest: str) -> str | None:
    """Who rejected a version and why, where a rejection stands."""
    for given in list_standing(conn, subject_of(model, number), digest):
        if given.answer == "rejected":
            return f"rejected by {given.actor_name}: {given.why}"
    return None


def refuse_rejected(conn: Connection, model: str, number: int, digest: str) -> None:
    """Raise Refused for a version that people rejected, with who said so and how that is taken back."""
    if (rejection := find_rejection(conn, model, number, digest)) is not None:
        name = f"{model}@{number}"
        raise Refused(
            f"{name} was {rejection}; who said so takes it back by `flyball approve {name} --why …`",
            model=model,
            version=number,
        )
