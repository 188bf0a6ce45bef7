"""Candidates of retrainings that begin no rollout by themselves, for a pull request is to say so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.core.clock import parse_moment
from flyball.core.values import Actor
from flyball.governance.events import list_events
from flyball.monitoring.incidents import add_entry
from flyball.registry.evidence import add_evidence, list_evidence

VERDICT = "left to a pull request"
WAITS = "waits for a pull request on a deployments file, which `flyball ci propose FILE…` opens"
_KEPT = ("retraining_id", "signal_id", "incident_id", "approvals", "decided_at")


def leave(conn: Connection, facts: dict[str, Any], *, actor: Actor, now: datetime) -> None:
    """Keep of a candidate that it waits for a pull request, once: as evidence, and as a line in its incident."""
    model, number = str(facts["model"]), int(facts["version"])
    known = find_left(conn, model, number)
    if known is not None and known["retraining_id"] == facts.get("retraining_id"):
        return
    told = {"verdict": VERDICT, "because": f"it {WAITS}", **{name: facts.get(name) for name in _KEPT}}
    add_evidence(conn, model, number, "rollout", told, actor=actor, now=now)
    if facts.get("incident_id"):
        text = f"version {number} {WAITS}"
        at = parse_moment(facts["decided_at"])
        add_entry(conn, facts["incident_id"], "action", text, model_time=at, now=now, actor=actor)


def find_asked(conn: Connection, model: str, number: int) -> dict[str, Any]:
    """What a candidate that is left to a pull request came of, also before its news were acted on; empty for others."""
    left = find_left(conn, model, number)
    if left is not None:
        return left
    news = list_events(conn, kinds=["candidate.ready"], model=model, newest_first=True)
    found = (event.facts for event in news if event.facts["version"] == number)
    return next((facts for facts in found if facts.get("deliver") == "pull-request"), {})


def find_left(conn: Connection, model: str, number: int) -> dict[str, Any] | None:
    """What is kept of a candidate that was left to a pull request, with the ids of what led to it; None of others."""
    found = [
        fact.facts
        for fact in list_evidence(conn, model, number, "rollout")
        if fact.facts.get("verdict") == VERDICT
    ]
    return found[-1] if found else None
