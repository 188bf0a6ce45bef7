"""What retraining does about news: a signal becomes a decision, a finished run a candidate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.backends.db.database import Database
from flyball.core.clock import Clock, isoformat
from flyball.core.ids import derived_id
from flyball.core.project import Project, RetrainSection
from flyball.core.values import Actor
from flyball.governance.consumers import deliver, next_events
from flyball.governance.events import Event
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import add_entry, is_held
from flyball.monitoring.signals import Signal, get_signal
from flyball.registry.evidence import list_evidence
from flyball.registry.routes import current, project_of
from flyball.retraining import retrainings
from flyball.retraining.policy import (
    History,
    PolicyDecision,
    SignalFacts,
    decide,
    policy_of,
)
from flyball.retraining.retrainings import Retraining, retraining_id

CONSUMER = "retraining"
KINDS = ("signal.raised", "run.finished")
POLICY = Actor("retraining policy", "automation")
# Of a retraining that came to nothing before anything was trained, no budget is used.
FREE_STATES = ("kept", "cancelled")


def consume(database: Database, clock: Clock) -> int:
    """Act on news, each once; how many events were handled."""
    return deliver(database, CONSUMER, KINDS, lambda event: _handle(database, event, clock.now()), clock)


def has_pending(conn: Connection) -> bool:
    """Whether there is news that was not acted on yet."""
    return bool(next_events(conn, CONSUMER, KINDS, limit=1))


def _handle(database: Database, event: Event, now: datetime) -> None:
    with database.write() as conn:
        if event.kind == "signal.raised":
            consider(conn, get_signal(conn, event.facts["signal_id"]), event.facts, now)
        else:
            _finish(conn, event.facts, now)


def consider(conn: Connection, signal: Signal, facts: dict[str, Any], now: datetime) -> PolicyDecision | None:
    """The policy's answer to a signal, carried out in the caller's transaction; None if its window has one already."""
    identity = retraining_id(signal.model, signal.window_end)
    if retrainings.find_retraining(conn, identity) is not None:
        return None
    deployment = current(conn, signal.model)
    project = None if deployment is None else project_of(deployment)
    decision = _decide(conn, signal, project, may_retrain=bool(facts.get("may_retrain")))
    champion = None if deployment is None else deployment.champion
    if decision.answer in ("act", "ask") and champion is not None and project is not None:
        begin(
            conn,
            _wanted(identity, signal, champion, decision, now),
            approvals=project.retrain.approvals,
            actor=POLICY,
            now=now,
        )
    elif signal.incident_id is not None:
        _explain(conn, signal, decision, now)
    return decision


def begin(conn: Connection, retraining: Retraining, *, approvals: int, actor: Actor, now: datetime) -> None:
    """Write a decided retraining with event, audit entry and its line in the incident."""
    if not retrainings.save_new(conn, retraining):
        return
    facts = {
        "model": retraining.model,
        "retraining_id": retraining.id,
        "signal_id": retraining.signal_id,
        "incident_id": retraining.incident_id,
        "champion": retraining.champion,
        "decided_at": isoformat(retraining.decided_at),
        "rows_until": isoformat(retraining.rows_until),
        "approvals": approvals,
        "because": retraining.because,
    }
    _record(conn, "retraining.decided", retraining, retraining.because, facts, actor, now)
    _tell(conn, retraining, f"the policy asks for a retraining: {retraining.because}", now, actor=actor)


def _decide(
    conn: Connection, signal: Signal, project: Project | None, *, may_retrain: bool
) -> PolicyDecision:
    if project is None:
        return PolicyDecision(answer="ignore", because=f"{signal.model} is not deployed")
    facts = SignalFacts(
        kind=signal.kind,
        at=signal.at,
        cause=signal.cause,
        confirmed=signal.confirmed,
        may_retrain=may_retrain,
    )
    return decide(facts, read_history(conn, signal.model), policy_of(project))


def read_history(conn: Connection, model: str) -> History:
    """What happened to a model so far, as the policy wants to know it."""
    known = retrainings.list_retrainings(conn, model, limit=1000)
    counted = [found.decided_at for found in known if found.state not in FREE_STATES]
    deployment = current(conn, model)
    return History(
        retrained_at=tuple(sorted(counted)),
        is_training=retrainings.is_training(conn, model),
        is_rolling_out=_is_rolling_out(conn, model, known),
        is_held=is_held(conn, model),
        has_champion=deployment is not None and deployment.champion is not None,
    )


def _is_rolling_out(conn: Connection, model: str, known: list[Retraining]) -> bool:
    """Whether a candidate is deployed, or one of ours waits for its rollout to begin or to end."""
    deployment = current(conn, model)
    if deployment is not None and deployment.candidate is not None:
        return True
    ready = next((found for found in known if found.state == "ready"), None)
    if ready is None or ready.version is None:
        return False
    # However a rollout ends, and if it can't begin, that becomes evidence on the version.
    return not list_evidence(conn, model, ready.version, kind="rollout")


def _wanted(
    identity: str, signal: Signal, champion: int, decision: PolicyDecision, now: datetime
) -> Retraining:
    return Retraining(
        id=identity,
        model=signal.model,
        signal_id=signal.id,
        incident_id=signal.incident_id,
        state="wanted",
        decided_at=signal.at,
        rows_until=signal.window_end,
        champion=champion,
        data_choice={},
        root_snapshot=None,
        snapshot=None,
        run_id=None,
        version=None,
        rollout_id=derived_id("rol", identity),
        because=decision.because,
        result=None,
        actor=POLICY.name,
        created_at=now,
        finished_at=None,
    )


def _explain(conn: Connection, signal: Signal, decision: PolicyDecision, now: datetime) -> None:
    """Why nothing is trained, in the incident: each reason once."""
    if signal.incident_id is None:
        return
    text = f"no retraining: {decision.because}"
    if not add_entry(
        conn,
        signal.incident_id,
        "action",
        text,
        ref=signal.id,
        model_time=signal.at,
        now=now,
        actor=POLICY,
        once=True,
    ):
        return
    facts = {
        "model": signal.model,
        "signal_id": signal.id,
        "incident_id": signal.incident_id,
        "answer": decision.answer,
        "because": decision.because,
        "not_before": isoformat(decision.not_before) if decision.not_before else None,
    }
    change = Change(
        actor=POLICY,
        action="retraining.declined",
        subject=f"signal:{signal.id}",
        why=decision.because,
        facts=facts,
        event="retraining.declined",
    )
    record(conn, change, now)


def _finish(conn: Connection, facts: dict[str, Any], now: datetime) -> None:
    """A run has ended: where a retraining started it, its version is a candidate, or refused, or there is none."""
    retraining = retrainings.find_by_run(conn, str(facts["run_id"]))
    if retraining is None or retraining.state not in retrainings.UNFINISHED:
        return
    state, version = facts["state"], facts.get("version")
    if state == "registered" and version is not None and version != retraining.champion:
        end(conn, retraining, "ready", f"version {version} passed its gates", now, version=version)
    elif state == "refused" and version is not None:
        result = f"version {version} was refused by its gates; the champion stays"
        end(conn, retraining, "refused", result, now, version=version)
    elif state == "registered":
        end(conn, retraining, "kept", "training again gave the champion itself", now, version=version)
    else:
        message = (facts.get("error") or {}).get("message") or f"its run was {state}"
        end(conn, retraining, "failed", message, now)


def end(
    conn: Connection,
    retraining: Retraining,
    state: retrainings.State,
    result: str,
    now: datetime,
    *,
    version: int | None = None,
) -> None:
    """How a retraining ended: its row, its event, its line in the incident."""
    retrainings.change(conn, retraining.id, state=state, result=result, version=version, finished_at=now)
    event = {"ready": "candidate.ready", "refused": "candidate.refused"}.get(state, f"retraining.{state}")
    deployment = current(conn, retraining.model)
    rules = RetrainSection() if deployment is None else project_of(deployment).retrain
    facts = {
        "model": retraining.model,
        "version": version,
        "retraining_id": retraining.id,
        "run_id": retraining.run_id,
        "signal_id": retraining.signal_id,
        "incident_id": retraining.incident_id,
        "decided_at": isoformat(retraining.decided_at),
        "approvals": rules.approvals,
        "deliver": rules.deliver,
        "because": f"retrained: {retraining.because}" if state == "ready" else result,
    }
    _record(conn, event, retraining, result, facts, POLICY, now)
    _tell(conn, retraining, f"{_SAID[state]}: {result}", now)


_SAID = {
    "ready": "retrained",
    "refused": "retrained in vain",
    "kept": "no retraining is worth it",
    "failed": "the retraining failed",
    "cancelled": "the retraining was cancelled",
}


def _record(
    conn: Connection,
    event: str,
    retraining: Retraining,
    why: str,
    facts: dict[str, Any],
    actor: Actor,
    now: datetime,
) -> None:
    subject = f"retraining:{retraining.id}"
    record(conn, Change(actor=actor, action=event, subject=subject, why=why, facts=facts, event=event), now)


def _tell(
    conn: Connection, retraining: Retraining, text: str, now: datetime, *, actor: Actor = POLICY
) -> None:
    if retraining.incident_id is not None:
        add_entry(
            conn,
            retraining.incident_id,
            "action",
            text,
            ref=retraining.id,
            model_time=retraining.decided_at,
            now=now,
            actor=actor,
        )
