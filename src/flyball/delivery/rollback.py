"""Back to the previous champion, at once: a change of routing, in one transaction."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.errors import BadInput, Conflict, NoChampion
from flyball.core.values import Actor
from flyball.delivery import rollouts, transitions
from flyball.delivery.approvals import find_rejection, refuse_rejected
from flyball.delivery.transitions import Moment, put_in_service
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import add_entry, find_open_incident
from flyball.registry.evidence import add_evidence, list_evidence
from flyball.registry.routes import Deployment, current, find_last_revision, list_champions
from flyball.registry.versions import ModelVersion, get_version


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """Which version went out, which came back, and the deployment revision that does it."""

    model: str
    from_number: int
    to_number: int
    revision: int


def rollback(
    conn: Connection,
    model: str,
    *,
    to: int | None,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None,
) -> Rollback:
    """Put the champion before (or version `to`) back into service; a rollout under way ends with it.

    A version that was rolled back from is rejected: no further rollback goes to it unless it is named, or was deployed
    again since. None goes to one that people rejected, or that was never in service: it had no approvals there.
    Raises NoChampion, VersionNotFound, BadInput without a reason, Refused for a version that people rejected, Conflict
    when there is nothing to go back to.
    """
    if not why.strip():
        raise BadInput("say why: the reason is kept with the rollback")
    champion, version = choose(conn, model, to)
    last = find_last_revision(conn, model, version.number)
    assert last is not None  # it was in service: `choose` goes to no other
    moment = Moment(now=now, model_time=model_time or now)
    running = rollouts.find_unfinished(conn, model)
    because = f"rolled back by {actor.name}: {why}" if actor.kind == "person" else f"rolled back: {why}"
    if running is not None:
        transitions.abort(
            conn, running, because, running.evidence, actor=actor, moment=moment, state="rolled_back"
        )
    revision = put_in_service(
        conn,
        model,
        version.number,
        project=last.project,  # the settings that were in force with it then
        previous=champion,
        rollout_id=None,
        actor=actor,
        why=because,
        moment=moment,
    )
    done = Rollback(model=model, from_number=champion, to_number=version.number, revision=revision)
    _tell(conn, done, because, actor, moment)
    return done


def choose(conn: Connection, model: str, to: int | None) -> tuple[int, ModelVersion]:
    """The champion that a rollback takes out, and the version it puts into service. Raises as `rollback`."""
    deployment = current(conn, model)
    if deployment is None or deployment.champion is None:
        raise NoChampion(model)
    target = to if to is not None else next_target(conn, model)
    if target is None:
        raise _nowhere_to_go(conn, deployment)
    if target == deployment.champion:
        raise Conflict(f"{model}@{target} is the champion already", model=model, version=target)
    version = get_version(conn, model, target)
    if find_last_revision(conn, model, target) is None:
        raise Conflict(
            f"{model}@{target} was never in service, so there is no way back to it; `flyball deploy {model}@{target}` "
            "rolls it out",
            model=model,
            version=target,
        )
    refuse_rejected(conn, model, target, version.digest)
    return deployment.champion, version


def next_target(conn: Connection, model: str) -> int | None:
    """Where a rollback goes, None for nowhere.

    That is the champion before the present one that no rollback has rejected since it was last deployed, and nobody by
    their word.
    """
    way = way_back(conn, model)
    return way[-1] if way else None


def way_back(conn: Connection, model: str) -> list[int]:
    """Every champion that rollbacks would come to one after the other, the next one last."""
    changes = list_champions(conn, model)
    rollbacks = {
        found.facts["revision"]
        for number in {number for _, number in changes}
        for found in list_evidence(conn, model, number, kind="rollback")
    }
    kept: list[int] = []
    for revision, champion in changes:
        if revision in rollbacks:
            kept.pop()  # rejected, and so is what came between it and the one that came back
            if champion in kept:
                while kept.pop() != champion:
                    pass
        kept.append(champion)
    return [number for number in kept[:-1] if _find_rejection(conn, model, number) is None]


def _find_rejection(conn: Connection, model: str, number: int) -> str | None:
    return find_rejection(conn, model, number, get_version(conn, model, number).digest)


def _nowhere_to_go(conn: Connection, deployment: Deployment) -> Conflict:
    model, champion, rejected = deployment.model, deployment.champion, deployment.previous
    if rejected is None:
        text = f"{model}@{champion} is the first champion of {model}: there is nothing to go back to"
    elif (rejection := _find_rejection(conn, model, rejected)) is not None:
        text = (
            f"{model}@{champion} has nothing before it to go back to: version {rejected} was {rejection}; who said so "
            f"takes it back by `flyball approve {model}@{rejected} --why …`"
        )
    else:
        text = (
            f"{model}@{champion} has nothing before it to go back to: version {rejected} was rejected by a rollback. "
            f"Name a version to go to it all the same, as in `flyball rollback {model} --to {rejected} --why …`"
        )
    return Conflict(text, model=model)


def _tell(conn: Connection, done: Rollback, because: str, actor: Actor, moment: Moment) -> None:
    told = {"because": because, "model_time": isoformat(moment.model_time)}
    facts = {**msgspec.structs.asdict(done), **told}
    add_evidence(
        conn,
        done.model,
        done.from_number,
        "rollback",
        {"verdict": "rolled back", **facts},
        actor=actor,
        now=moment.now,
    )
    change = Change(
        actor=actor,
        action="deployment.rolled_back",
        subject=f"version:{done.model}@{done.to_number}",
        why=because,
        facts=facts,
        event="deployment.rolled_back",
    )
    record(conn, change, moment.now)
    incident = find_open_incident(conn, done.model)
    if incident is not None:
        text = f"version {done.to_number} is back in service for version {done.from_number}: {because}"
        add_entry(
            conn, incident.id, "action", text, model_time=moment.model_time, now=moment.now, actor=actor
        )
