"""The watch period after a promotion: a worse new champion is told, with the way back.

Before and after are different weeks, so their comparison alone proves nothing about the versions: it alarms, and a
person (or the next retraining) decides.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.durations import format_duration, parse_duration
from flyball.delivery.rollouts import Rollout, list_rollouts
from flyball.governance.actors import SYSTEM
from flyball.monitoring.incidents import add_entry
from flyball.monitoring.signals import Signal
from flyball.registry.evidence import add_evidence, list_evidence


def note_watch_alarm(conn: Connection, signal: Signal, now: datetime) -> bool:
    """Put a performance signal about a version that was promoted lately down as evidence on it, once per signal.

    True if it was. The incident gets a line that names the version to go back to.
    """
    rollout = _watched(conn, signal)
    if rollout is None:
        return False
    known = list_evidence(conn, rollout.model, rollout.candidate, kind="watch")
    if any(found.facts.get("signal_id") == signal.id for found in known):
        return False
    watch = format_duration(parse_duration(rollout.settings.watch))
    because = (
        f"within {watch} of its promotion version {rollout.candidate} does worse than it promised: "
        f"{signal.sentence} `flyball rollback {rollout.model}` brings version {rollout.champion} back"
    )
    facts = {
        "verdict": "alarm",
        "because": because,
        "signal_id": signal.id,
        "rollout_id": rollout.id,
        "at": isoformat(signal.at),
    }
    add_evidence(conn, rollout.model, rollout.candidate, "watch", facts, actor=SYSTEM, now=now)
    if signal.incident_id is not None:
        add_entry(
            conn,
            signal.incident_id,
            "action",
            because,
            ref=rollout.id,
            model_time=signal.at,
            now=now,
            once=True,
        )
    return True


def _watched(conn: Connection, signal: Signal) -> Rollout | None:
    """The rollout whose watch period the signal falls into, if it is about the version promoted then."""
    if signal.kind != "performance":
        return None
    for rollout in list_rollouts(conn, signal.model, states=("promoted",), limit=1):
        ended = rollout.ended_model_at
        if ended is None or signal.facts.get("version") != rollout.candidate:
            return None
        if rollout.champion is None:
            return None  # the first version: there is none to go back to
        # A window that began in the period counts, though its outcomes come in later.
        if signal.window_start <= ended + parse_duration(rollout.settings.watch):
            return rollout
    return None
