"""What delivery does about news: a candidate that is ready, an approval, an alarm soon after a promotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.backends.db.database import Database
from flyball.core.clock import Clock, parse_moment
from flyball.core.errors import Conflict, Refused
from flyball.core.ids import derived_id
from flyball.core.values import Actor
from flyball.data.model_time import find_clock
from flyball.delivery import rollouts, transitions
from flyball.delivery.approvals import find_rejection, subject_of
from flyball.delivery.start import Origin, deploy, launch
from flyball.delivery.transitions import Moment
from flyball.delivery.watching import note_watch_alarm
from flyball.governance.consumers import deliver, next_events
from flyball.governance.events import Event
from flyball.monitoring.incidents import add_entry
from flyball.monitoring.signals import get_signal
from flyball.registry.evidence import add_evidence

CONSUMER = "delivery"
KINDS = ("candidate.ready", "approval.given", "approval.refused", "signal.raised")
POLICY = Actor("retraining policy", "automation")


def consume(database: Database, clock: Clock) -> int:
    """Act on news, each once; how many events were handled."""
    return deliver(database, CONSUMER, KINDS, lambda event: _handle(database, event, clock.now()), clock)


def has_pending(conn: Connection) -> bool:
    """Whether there is news that was not acted on yet."""
    return bool(next_events(conn, CONSUMER, KINDS, limit=1))


def _handle(database: Database, event: Event, now: datetime) -> None:
    with database.write() as conn:
        if event.kind == "candidate.ready":
            _start(conn, event.facts, now)
        elif event.kind == "signal.raised":
            note_watch_alarm(conn, get_signal(conn, event.facts["signal_id"]), now)
        else:
            _answer(conn, event, now)


def _start(conn: Connection, facts: dict[str, Any], now: datetime) -> None:
    """Begin the rollout of a candidate, once; a candidate that can't be rolled out now is said so."""
    model, number = str(facts["model"]), int(facts["version"])
    retraining_id = facts.get("retraining_id")
    if retraining_id is not None and _is_known(conn, model, derived_id("rol", retraining_id)):
        return
    model_time = parse_moment(facts["decided_at"])
    try:
        started = deploy(
            conn,
            model,
            number,
            actor=POLICY,
            why=str(facts.get("because") or "a retraining"),
            now=now,
            model_time=model_time,
            origin=Origin(
                incident_id=facts.get("incident_id"),
                signal_id=facts.get("signal_id"),
                retraining_id=retraining_id,
                approvals=int(facts.get("approvals") or 0),
            ),
        )
    except (Conflict, Refused) as error:
        text = f"version {number} is not rolled out: {error.message}"
        facts_told = {"verdict": "not rolled out", "because": error.message}
        add_evidence(conn, model, number, "rollout", facts_told, actor=POLICY, now=now)
    else:
        if not started.waiting_for:
            return
        text = f"version {number} {started.because}; `flyball approve {model}@{number} --why …`"
    if facts.get("incident_id"):
        add_entry(conn, facts["incident_id"], "action", text, model_time=model_time, now=now, actor=POLICY)


def _answer(conn: Connection, event: Event, now: datetime) -> None:
    """Begin a rollout that now has its approvals, or end one that was rejected."""
    for rollout in rollouts.list_rollouts(conn, states=("waiting",)):
        if subject_of(rollout) != event.subject:
            continue
        clock = find_clock(conn, rollout.model)
        moment = Moment(now=now, model_time=clock.now(now) if clock is not None else now)
        rejection = find_rejection(conn, rollout)
        if rejection is not None:
            transitions.abort(conn, rollout, rejection, {}, actor=event.actor, moment=moment)
        else:
            launch(conn, rollout, actor=event.actor, moment=moment)


def _is_known(conn: Connection, model: str, rollout_id: str) -> bool:
    return any(rollout.id == rollout_id for rollout in rollouts.list_rollouts(conn, model, limit=1000))
