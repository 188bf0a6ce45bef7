"""Moves of a rollout, each in the caller's one transaction: wanted routes, rollout row, aliases, evidence, journal."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.errors import NoChampion
from flyball.core.values import Actor
from flyball.delivery import rollouts
from flyball.delivery.rollouts import Rollout, RolloutStep, State
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import add_entry
from flyball.registry.aliases import drop_alias, move_alias
from flyball.registry.evidence import add_evidence
from flyball.registry.routes import Deployment, Wanted, current, want


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When something is done: `now` by the wall clock, `model_time` by the model's."""

    now: datetime
    model_time: datetime


def begin(conn: Connection, rollout: Rollout, *, actor: Actor, moment: Moment) -> Rollout:
    """Put the candidate beside the champion at its first step (or in front of nobody, for a shadow)."""
    deployment = _deployed(conn, rollout.model)
    share, role = first_share(rollout)
    wanted = replace(
        deployment.wanted,
        candidate=rollout.candidate,
        candidate_role=role,
        share=share,
        salt=rollout.salt,
        rollout_id=rollout.id,
    )
    revision = want(conn, rollout.model, wanted, actor=actor, why=rollout.why, now=moment.now)
    _point(conn, rollout.model, "candidate", rollout.candidate, actor, rollout.why, moment)
    step = RolloutStep(step=0, share=share, revision=revision, at=moment.now, model_time=moment.model_time)
    begun = rollouts.change(
        conn,
        rollout.id,
        state="running",
        step=0,
        steps=[step],
        started_at=moment.now,
        started_model_at=moment.model_time,
        step_started_at=moment.now,
    )
    text = f"version {rollout.candidate} is rolled out beside version {rollout.champion} ({rollout.strategy})"
    _tell(conn, begun, "rollout.started", text, actor, moment, {"revision": revision, "share": share})
    return begun


def first_share(rollout: Rollout) -> tuple[float, Literal["canary", "shadow"]]:
    """Share of keys and role of the candidate at the first step: a shadow and a waiting blue-green get no key."""
    if rollout.strategy == "canary":
        partial = [share for share in rollout.settings.steps if share < 1.0]
        return (partial[0] if partial else 1.0), "canary"
    return 0.0, "shadow"


def advance(
    conn: Connection,
    rollout: Rollout,
    because: str,
    evidence: dict[str, Any],
    *,
    actor: Actor,
    moment: Moment,
) -> Rollout:
    """On to the canary's next share of traffic."""
    deployment = _deployed(conn, rollout.model)
    partial = [share for share in rollout.settings.steps if share < 1.0]
    number = rollout.step + 1
    wanted = replace(deployment.wanted, share=partial[number])
    revision = want(conn, rollout.model, wanted, actor=actor, why=because, now=moment.now)
    step = RolloutStep(
        step=number, share=partial[number], revision=revision, at=moment.now, model_time=moment.model_time
    )
    moved = rollouts.change(
        conn,
        rollout.id,
        step=number,
        steps=[*rollout.steps, step],
        step_started_at=moment.now,
        evidence=evidence,
    )
    _tell(
        conn, moved, "rollout.advanced", because, actor, moment, {"revision": revision, "share": step.share}
    )
    return moved


def hold(
    conn: Connection,
    rollout: Rollout,
    because: str,
    evidence: dict[str, Any],
    *,
    actor: Actor,
    moment: Moment,
) -> Rollout:
    """The present step stays until a person decides."""
    held = rollouts.change(conn, rollout.id, state="paused", because=because, evidence=evidence)
    _tell(conn, held, "rollout.paused", because, actor, moment, {})
    return held


def resume(conn: Connection, rollout: Rollout, because: str, *, actor: Actor, moment: Moment) -> Rollout:
    """A paused rollout goes on from the step where it was; its bake starts again."""
    going = rollouts.change(conn, rollout.id, state="running", because=because, step_started_at=moment.now)
    _tell(conn, going, "rollout.resumed", because, actor, moment, {})
    return going


def promote(
    conn: Connection,
    rollout: Rollout,
    because: str,
    evidence: dict[str, Any],
    *,
    actor: Actor,
    moment: Moment,
) -> Rollout:
    """The candidate becomes champion, the champion `previous`; the version's own project comes into force."""
    revision = put_in_service(
        conn,
        rollout.model,
        rollout.candidate,
        project=rollout.project,
        previous=rollout.champion,
        rollout_id=rollout.id,
        actor=actor,
        why=because,
        moment=moment,
    )
    ended = _end(conn, rollout, "promoted", because, evidence, moment)
    facts = {**evidence, "strategy": rollout.strategy, "against": rollout.champion}
    _prove(conn, ended, "promoted", because, facts, actor, moment)
    _tell(conn, ended, "rollout.promoted", because, actor, moment, {"revision": revision})
    return ended


def abort(
    conn: Connection,
    rollout: Rollout,
    because: str,
    evidence: dict[str, Any],
    *,
    actor: Actor,
    moment: Moment,
    state: State = "aborted",
) -> Rollout:
    """The candidate is taken out again (or never comes in, if the rollout only waited)."""
    facts: dict[str, Any] = {}
    if rollout.state != "waiting":
        wanted = replace(
            _deployed(conn, rollout.model).wanted,
            candidate=None,
            candidate_role=None,
            share=0.0,
            rollout_id=None,
        )
        facts["revision"] = want(conn, rollout.model, wanted, actor=actor, why=because, now=moment.now)
        _point(conn, rollout.model, "candidate", None, actor, because, moment)
    ended = _end(conn, rollout, state, because, evidence, moment)
    _prove(conn, ended, state, because, {**evidence, "against": rollout.champion}, actor, moment)
    event = {"undecided": "rollout.undecided", "rolled_back": "rollout.rolled_back"}.get(
        state, "rollout.aborted"
    )
    _tell(conn, ended, event, because, actor, moment, facts)
    return ended


def put_in_service(
    conn: Connection,
    model: str,
    number: int,
    *,
    project: dict[str, Any],
    previous: int | None,
    rollout_id: str | None,
    actor: Actor,
    why: str,
    moment: Moment,
) -> int:
    """Champion for all traffic from the returned revision on, with the aliases that go with it."""
    deployment = current(conn, model)
    wanted = Wanted(
        champion=number,
        previous=previous,
        salt=deployment.salt if deployment else "",
        rollout_id=rollout_id,
        project=project,
    )
    revision = want(conn, model, wanted, actor=actor, why=why, now=moment.now)
    _point(conn, model, "champion", number, actor, why, moment)
    if previous is not None:
        _point(conn, model, "previous", previous, actor, why, moment)
    _point(conn, model, "candidate", None, actor, why, moment)
    return revision


def _deployed(conn: Connection, model: str) -> Deployment:
    deployment = current(conn, model)
    if deployment is None:
        raise NoChampion(model)
    return deployment


def _point(
    conn: Connection, model: str, name: str, number: int | None, actor: Actor, why: str, moment: Moment
) -> None:
    """Move an alias, or take it away."""
    now, model_time = moment.now, moment.model_time
    if number is None:
        drop_alias(conn, model, name, actor=actor, why=why, now=now, model_time=model_time)
    else:
        move_alias(conn, model, name, number, actor=actor, why=why, now=now, model_time=model_time)


def _end(
    conn: Connection, rollout: Rollout, state: State, because: str, evidence: dict[str, Any], moment: Moment
) -> Rollout:
    return rollouts.change(
        conn,
        rollout.id,
        state=state,
        because=because,
        evidence=evidence,
        ended_at=moment.now,
        ended_model_at=moment.model_time,
    )


def _prove(
    conn: Connection,
    rollout: Rollout,
    verdict: str,
    because: str,
    facts: dict[str, Any],
    actor: Actor,
    moment: Moment,
) -> None:
    """How a rollout ended is evidence on the version that was rolled out."""
    add_evidence(
        conn,
        rollout.model,
        rollout.candidate,
        "rollout",
        # The decision's own reason: what the last look at the evidence said may well have been another.
        {**facts, "verdict": verdict, "because": because, "rollout_id": rollout.id},
        actor=actor,
        now=moment.now,
    )


def _tell(
    conn: Connection,
    rollout: Rollout,
    event: str,
    because: str,
    actor: Actor,
    moment: Moment,
    facts: dict[str, Any],
) -> None:
    """Event and audit entry of a move, and its line in the incident that the rollout answers."""
    told = {
        "model": rollout.model,
        "rollout_id": rollout.id,
        "version": rollout.candidate,
        "champion": rollout.champion,
        "incident_id": rollout.incident_id,
        "model_time": isoformat(moment.model_time),
        "because": because,
        **facts,
    }
    change = Change(
        actor=actor, action=event, subject=f"rollout:{rollout.id}", why=because, facts=told, event=event
    )
    record(conn, change, moment.now)
    if rollout.incident_id is not None:
        words = event.partition(".")[2].replace("_", " ")
        add_entry(
            conn,
            rollout.incident_id,
            "action",
            f"rollout of version {rollout.candidate} {words}: {because}",
            ref=rollout.id,
            model_time=moment.model_time,
            now=moment.now,
            actor=actor,
        )
