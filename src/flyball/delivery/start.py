"""Putting a version on its way: as a rollout or, with nothing to compare with, at once when it is approved."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.errors import Conflict, RolloutRunning, VersionRefused
from flyball.core.ids import derived_id, new_id
from flyball.core.project import Project
from flyball.core.values import Actor
from flyball.delivery import rollouts
from flyball.delivery.approvals import approvals_left, refuse_rejected
from flyball.delivery.left import find_asked
from flyball.delivery.rollouts import Rollout
from flyball.delivery.transitions import Moment, begin, promote, put_in_service
from flyball.governance.journal import Change, record
from flyball.registry.evidence import add_evidence
from flyball.registry.routes import current
from flyball.registry.versions import ModelVersion, get_version


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment led to. Without a rollout (`first`), the version is in service from `revision` on.

    `waiting_for`: approvals that are still missing before the rollout begins.
    """

    model: str
    version: int
    rollout_id: str | None
    state: str
    revision: int | None
    first: bool
    waiting_for: int
    because: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate came of, where it came of a retraining; `approvals` are those its policy asks for."""

    incident_id: str | None = None
    signal_id: str | None = None
    retraining_id: str | None = None
    approvals: int = 0


def deploy(
    conn: Connection,
    model: str,
    number: int,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None,
    project: Project | None = None,
    origin: Origin | None = None,
) -> Started:
    """Start the rollout of a version; a model's first one goes into service as soon as it has its approvals.

    project: the settings that come into force with it; the version's own by default. Raises VersionNotFound,
    VersionRefused, Refused for a version that was rejected, RolloutRunning, Conflict if it is the champion already.
    """
    version = get_version(conn, model, number)
    if version.state != "registered":
        raise VersionRefused(model, number)
    refuse_rejected(conn, model, number, version.digest)
    project = project or msgspec.convert(version.project, Project)
    moment = Moment(now=now, model_time=model_time or now)
    deployment = current(conn, model)
    champion = None if deployment is None else deployment.champion
    if champion == number:
        raise Conflict(f"{model}@{number} is the champion already", model=model, version=number)
    running = rollouts.find_unfinished(conn, model)
    if running is not None:
        raise RolloutRunning(
            f"version {running.candidate} of {model} is being rolled out ({running.state}); wait for its end, or "
            f"`flyball rollout abort {model}`",
            model=model,
            rollout_id=running.id,
        )
    origin = origin or _find_origin(conn, version)
    rollout = _new_rollout(version, champion, project, origin, actor, why, moment)
    if champion is None and rollout.approvals <= 0:
        return _first(conn, rollout, actor=actor, moment=moment)
    rollouts.save_new(conn, rollout)
    started = launch(conn, rollout, actor=actor, moment=moment)
    if started.waiting_for:
        _record_waiting(conn, rollout, started, actor, moment)
    return started


def _find_origin(conn: Connection, version: ModelVersion) -> Origin:
    """What a candidate came of that waited for a pull request, so that its incident tells how it went on.

    Without the retraining: such a version may be deployed more than once, and each rollout has an id of its own.
    """
    asked = find_asked(conn, version.model, version.number)
    return Origin(
        incident_id=asked.get("incident_id"),
        signal_id=asked.get("signal_id"),
        approvals=int(asked.get("approvals") or 0),
    )


def _record_waiting(
    conn: Connection, rollout: Rollout, started: Started, actor: Actor, moment: Moment
) -> None:
    """Who asked for what, and what it waits for: it may end without ever having begun."""
    facts = {
        "model": rollout.model,
        "rollout_id": rollout.id,
        "version": rollout.candidate,
        "champion": rollout.champion,
        "strategy": rollout.strategy,
        "waiting_for": started.waiting_for,
        "model_time": isoformat(moment.model_time),
        "because": started.because,
    }
    subject, kind = f"rollout:{rollout.id}", "rollout.waiting"
    why = rollout.why or started.because
    record(
        conn,
        Change(actor=actor, action=kind, subject=subject, why=why, facts=facts, event=kind),
        moment.now,
    )


def launch(conn: Connection, rollout: Rollout, *, actor: Actor, moment: Moment) -> Started:
    """Begin a waiting rollout if it has the approvals it needs; say how many are missing otherwise.

    Raises Refused for a candidate that people rejected.
    """
    refuse_rejected(conn, rollout.model, rollout.candidate, rollout.digest)
    left = approvals_left(conn, rollout)
    if left > 0:
        return _started(rollout, left, f"waits for {left} approval(s) by people other than the author")
    if rollout.champion is None:
        return _end_first(conn, rollout, actor=actor, moment=moment)
    if rollout.strategy == "immediate":
        because = _with_reason("strategy immediate: no comparison was asked for", rollout.why)
        done = promote(conn, rollout, because, {}, actor=actor, moment=moment)
        return _started(done, 0, because)
    begun = begin(conn, rollout, actor=actor, moment=moment)
    return _started(begun, 0, f"{begun.strategy} beside version {begun.champion}")


def _with_reason(because: str, why: str) -> str:
    """What is recorded of a deployment that nothing was measured for: the rule, and what the person said."""
    return f"{because} ({why})" if why else because


def _first(conn: Connection, rollout: Rollout, *, actor: Actor, moment: Moment) -> Started:
    """Put a model's first version into service at once. Where nothing is waited for, no row of a rollout is kept."""
    because = _with_reason(
        "first deployment: there is no champion to compare with, so it went into service at once", rollout.why
    )
    revision = put_in_service(
        conn,
        rollout.model,
        rollout.candidate,
        project=rollout.project,
        previous=None,
        rollout_id=None,
        actor=actor,
        why=because,
        moment=moment,
    )
    facts = {
        "model": rollout.model,
        "version": rollout.candidate,
        "revision": revision,
        "model_time": isoformat(moment.model_time),
        "because": because,
    }
    told = {"verdict": "first", **facts}
    add_evidence(conn, rollout.model, rollout.candidate, "rollout", told, actor=actor, now=moment.now)
    subject = f"version:{rollout.model}@{rollout.candidate}"
    change = Change(
        actor=actor,
        action="deployment.first",
        subject=subject,
        why=because,
        facts=facts,
        event="deployment.first",
    )
    record(conn, change, moment.now)
    return Started(
        model=rollout.model,
        version=rollout.candidate,
        rollout_id=None,
        state="promoted",
        revision=revision,
        first=True,
        waiting_for=0,
        because=because,
    )


def _end_first(conn: Connection, rollout: Rollout, *, actor: Actor, moment: Moment) -> Started:
    """End the wait of a first version that has its approvals: it is in service from now on."""
    started = _first(conn, rollout, actor=actor, moment=moment)
    ended = {"ended_at": moment.now, "ended_model_at": moment.model_time}
    rollouts.change(conn, rollout.id, state="promoted", because=started.because, **ended)
    return msgspec.structs.replace(started, rollout_id=rollout.id)


def _new_rollout(
    version: ModelVersion,
    champion: int | None,
    project: Project,
    origin: Origin,
    actor: Actor,
    why: str,
    moment: Moment,
) -> Rollout:
    rollout_id = (
        derived_id("rol", origin.retraining_id) if origin.retraining_id is not None else new_id("rol")
    )
    return Rollout(
        id=rollout_id,
        model=version.model,
        champion=champion,
        candidate=version.number,
        digest=version.digest,
        strategy=project.rollout.strategy,
        state="waiting",
        step=0,
        salt=rollout_id,
        approvals=max(project.rollout.approvals, origin.approvals),
        started_at=moment.now,
        started_model_at=moment.model_time,
        step_started_at=moment.now,
        looked_until=None,
        ended_at=None,
        ended_model_at=None,
        settings=project.rollout,
        project=msgspec.to_builtins(project),
        steps=[],
        evidence={},
        incident_id=origin.incident_id,
        signal_id=origin.signal_id,
        why=why,
        because=None,
        actor=actor.name,
    )


def _started(rollout: Rollout, waiting_for: int, because: str) -> Started:
    return Started(
        model=rollout.model,
        version=rollout.candidate,
        rollout_id=rollout.id,
        state=rollout.state,
        revision=rollout.steps[-1].revision if rollout.steps else None,
        first=False,
        waiting_for=waiting_for,
        because=because,
    )
