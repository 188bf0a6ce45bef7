"""What a person may do with a rollout: pause, resume, promote, abort; each with a reason."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from flyball.core.errors import BadInput, Conflict
from flyball.core.values import Actor
from flyball.delivery import transitions
from flyball.delivery.approvals import approvals_left, refuse_rejected
from flyball.delivery.rollouts import Rollout, State, get_unfinished
from flyball.delivery.transitions import Moment


def pause(
    conn: Connection, model: str, *, actor: Actor, why: str, now: datetime, model_time: datetime | None
) -> Rollout:
    """The present step stays until `resume`. Raises RolloutNotFound, Conflict unless it runs."""
    rollout = _in_state(conn, model, "running", "paused")
    moment = _moment(why, now, model_time)
    return transitions.hold(conn, rollout, why, rollout.evidence, actor=actor, moment=moment)


def resume(
    conn: Connection, model: str, *, actor: Actor, why: str, now: datetime, model_time: datetime | None
) -> Rollout:
    """A paused rollout goes on. Raises RolloutNotFound, Conflict unless it is paused."""
    rollout = _in_state(conn, model, "paused", "resumed")
    return transitions.resume(conn, rollout, why, actor=actor, moment=_moment(why, now, model_time))


def promote(
    conn: Connection, model: str, *, actor: Actor, why: str, now: datetime, model_time: datetime | None
) -> Rollout:
    """The candidate becomes champion now, whatever the evidence says; the evidence so far is kept beside the reason.

    Raises RolloutNotFound, Refused for a candidate that people rejected, Conflict while approvals are missing.
    """
    rollout = get_unfinished(conn, model)
    refuse_rejected(conn, model, rollout.candidate, rollout.digest)
    left = approvals_left(conn, rollout)
    if left > 0:
        raise Conflict(
            f"{model}@{rollout.candidate} needs {left} more approval(s) before anybody can promote it; "
            f"`flyball approve {model}@{rollout.candidate} --why …`",
            model=model,
            rollout_id=rollout.id,
        )
    because = f"promoted by {actor.name}: {why}"
    moment = _moment(why, now, model_time)
    return transitions.promote(conn, rollout, because, rollout.evidence, actor=actor, moment=moment)


def abort(
    conn: Connection, model: str, *, actor: Actor, why: str, now: datetime, model_time: datetime | None
) -> Rollout:
    """The candidate is taken back; the champion stays. Raises RolloutNotFound."""
    rollout = get_unfinished(conn, model)
    because = f"aborted by {actor.name}: {why}"
    moment = _moment(why, now, model_time)
    return transitions.abort(conn, rollout, because, rollout.evidence, actor=actor, moment=moment)


def _in_state(conn: Connection, model: str, state: State, done: str) -> Rollout:
    rollout = get_unfinished(conn, model)
    if rollout.state != state:
        raise Conflict(
            f"the rollout of {model}@{rollout.candidate} is {rollout.state}; it can be {done} only when it is {state}",
            model=model,
            rollout_id=rollout.id,
        )
    return rollout


def _moment(why: str, now: datetime, model_time: datetime | None) -> Moment:
    if not why.strip():
        raise BadInput("say why: the reason is kept with the decision")
    return Moment(now=now, model_time=model_time or now)
