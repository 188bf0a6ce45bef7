"""What delivery does about news: a candidate that is ready, an approval, an alarm soon after a promotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.backends.blobs.store import BlobStore
from flyball.backends.db.database import Database
from flyball.core.clock import Clock, parse_moment
from flyball.core.errors import Conflict, FlyballError, Refused
from flyball.core.ids import derived_id
from flyball.core.values import Actor
from flyball.data.model_time import find_model_time
from flyball.delivery import rollouts, transitions
from flyball.delivery.approvals import find_rejection
from flyball.delivery.damage import find_damage
from flyball.delivery.left import leave
from flyball.delivery.start import Origin, deploy, launch
from flyball.delivery.transitions import Moment
from flyball.delivery.watching import note_watch_alarm
from flyball.governance.consumers import deliver, next_events
from flyball.governance.events import Event
from flyball.monitoring.incidents import add_entry
from flyball.monitoring.signals import get_signal
from flyball.registry.evidence import add_evidence
from flyball.registry.versions import get_version

CONSUMER = "delivery"
KINDS = ("candidate.ready", "approval.given", "approval.refused", "signal.raised")
POLICY = Actor("retraining policy", "automation")


def consume(database: Database, blobs: BlobStore, clock: Clock) -> int:
    """Act on news, each once; how many events were handled."""
    return deliver(
        database, CONSUMER, KINDS, lambda event: _handle(database, blobs, event, clock.now()), clock
    )


def has_pending(conn: Connection) -> bool:
    """Whether there is news that was not acted on yet."""
    return bool(next_events(conn, CONSUMER, KINDS, limit=1))


def _handle(database: Database, blobs: BlobStore, event: Event, now: datetime) -> None:
    damage = _find_damage(database, blobs, event)
    with database.write() as conn:
        if event.kind == "candidate.ready":
            _start(conn, event.facts, damage, now)
        elif event.kind == "signal.raised":
            note_watch_alarm(conn, get_signal(conn, event.facts["signal_id"]), now)
        else:
            _answer(conn, event, damage, now)


def _find_damage(database: Database, blobs: BlobStore, event: Event) -> FlyballError | None:
    """What is wrong with the files of the version that an event would put on its way."""
    if event.kind == "candidate.ready":
        with database.read() as conn:
            digest = get_version(conn, event.facts["model"], int(event.facts["version"])).digest
    elif event.kind == "approval.given":
        digest = event.facts["digest"]  # days may lie between the deployment that checked them and this word
    else:
        return None
    return find_damage(digest, blobs)


def _start(conn: Connection, facts: dict[str, Any], damage: FlyballError | None, now: datetime) -> None:
    """Begin the rollout of a candidate, once; a candidate that can't be rolled out now is said so."""
    model, number = str(facts["model"]), int(facts["version"])
    retraining_id = facts.get("retraining_id")
    if retraining_id is not None and rollouts.is_known(conn, derived_id("rol", retraining_id)):
        return
    if facts.get("deliver") == "pull-request" and damage is None:
        leave(conn, facts, actor=POLICY, now=now)
        return
    model_time = parse_moment(facts["decided_at"])
    try:
        if damage is not None:
            raise Refused(damage.message)
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


def _answer(conn: Connection, event: Event, damage: FlyballError | None, now: datetime) -> None:
    """Begin a rollout that now has its approvals; end one that was rejected, or that no server could load."""
    rollout = rollouts.find_unfinished(conn, str(event.facts.get("model")))
    if rollout is None or rollout.digest != event.facts["digest"]:
        return
    moment = Moment(now=now, model_time=find_model_time(conn, rollout.model, now) or now)
    rejection = find_rejection(conn, rollout.model, rollout.candidate, rollout.digest)
    if rejection is not None:
        transitions.abort(conn, rollout, rejection, rollout.evidence, actor=event.actor, moment=moment)
    elif rollout.state != "waiting":
        return  # it had its approvals before: one more changes nothing
    elif damage is not None:
        transitions.abort(conn, rollout, damage.message, {}, actor=event.actor, moment=moment)
    else:
        launch(conn, rollout, actor=event.actor, moment=moment)
