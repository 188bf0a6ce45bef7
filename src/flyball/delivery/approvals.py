"""What people said of a version: how many approvals a rollout still waits for, and whether a rejection stands."""

from __future__ import annotations

from sqlalchemy import Connection

from flyball.core.errors import Refused
from flyball.delivery.rollouts import Rollout
from flyball.governance.approvals import Approval, count_approvals, list_approvals


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
    """Who rejected a version and why, where a rejection stands.

    It goes with the package: to the number that the same bytes get later, under whatever settings they come again.
    """
    given = _find_rejection(conn, model, number, digest)
    if given is None:
        return None
    said = f"rejected by {given.actor_name}: {given.why}"
    rejected = _number_of(given)
    return said if rejected == number else f"{said} (as {model}@{rejected}, which is the same package)"


def refuse_rejected(conn: Connection, model: str, number: int, digest: str) -> None:
    """Raise Refused for a version that people rejected, with who said so and how that is taken back."""
    if (given := _find_rejection(conn, model, number, digest)) is not None:
        raise Refused(
            f"{model}@{number} was {find_rejection(conn, model, number, digest)}; who said so takes it back by "
            f"`flyball approve {model}@{_number_of(given)} --why …`",
            model=model,
            version=number,
        )


def _find_rejection(conn: Connection, model: str, number: int, digest: str) -> Approval | None:
    """Of each person the last answer counts that was given about these bytes, as this number or an earlier one."""
    of_model = subject_of(model, 0)[:-1]
    answers = [found for found in list_approvals(conn, digest) if found.subject.startswith(of_model)]
    last = {found.actor_id: found for found in answers if _number_of(found) <= number}
    return next((given for given in last.values() if given.answer == "rejected"), None)


def _number_of(given: Approval) -> int:
    return int(given.subject.rpartition("@")[2])
