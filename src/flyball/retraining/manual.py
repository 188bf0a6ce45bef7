"""A retraining that a person asks for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from flyball.core.errors import BadInput, Conflict, KeyInUse, NoChampion, Refused
from flyball.core.ids import derived_id, keyed_id, new_id
from flyball.core.project import Project
from flyball.core.values import Actor
from flyball.monitoring.incidents import find_open_incident, is_held
from flyball.monitoring.plan import plan_of, window_start
from flyball.monitoring.windows import find_last_window
from flyball.registry.routes import current, project_of
from flyball.retraining.retrainings import Retraining, find_retraining, get_retraining, is_training
from flyball.retraining.triggers import begin


def retrain_now(
    conn: Connection,
    model: str,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime,
    key: str | None = None,
) -> Retraining:
    """A wanted retraining on the rows known at a model time, without signal, cooldown or budget.

    key: the retraining that was asked for under it before is the answer, however far it has come. Who asks again, and
    why, is not compared. Raises NoChampion, BadInput without a reason or for a bad key, Refused while an incident of
    broken data is open, Conflict while another retraining is under way, KeyInUse for a key of another model.
    """
    if key is not None and (known := _find_asked(conn, model, key)) is not None:
        return known
    identity = new_id("rtn") if key is None else keyed_id("rtn", key)
    deployment = current(conn, model)
    if deployment is None or deployment.champion is None:
        raise NoChampion(model)
    if not why.strip():
        raise BadInput("say why: the reason is kept with the retraining")
    _check_free(conn, model)
    project = project_of(deployment)
    incident = find_open_incident(conn, model, "change")
    wanted = Retraining(
        id=identity,
        model=model,
        signal_id=None,
        incident_id=None if incident is None else incident.id,
        state="wanted",
        decided_at=model_time,
        rows_until=_rows_until(conn, model, project, model_time),
        champion=deployment.champion,
        data_choice={},
        root_snapshot=None,
        snapshot=None,
        run_id=None,
        version=None,
        rollout_id=derived_id("rol", identity),
        because=f"asked for by {actor.name}: {why}",
        result=None,
        actor=actor.name,
        created_at=now,
        finished_at=None,
    )
    begin(conn, wanted, approvals=project.retrain.approvals, actor=actor, now=now)
    return get_retraining(conn, identity)


def _rows_until(conn: Connection, model: str, project: Project, model_time: datetime) -> datetime:
    """The end of the last window that was judged; without one, the beginning of the present one."""
    last = find_last_window(conn, model)
    return window_start(model_time, plan_of(project).window) if last is None else last.end


def _find_asked(conn: Connection, model: str, key: str) -> Retraining | None:
    known = find_retraining(conn, keyed_id("rtn", key))
    if known is not None and known.model != model:
        raise KeyInUse(
            f"the key {key!r} asked for a retraining of {known.model}, not of {model}; choose another key",
            key=key,
            model=known.model,
        )
    return known


def _check_free(conn: Connection, model: str) -> None:
    if is_held(conn, model):
        raise Refused(
            f"an incident of broken data is open for {model}: nothing is trained until it is resolved; "
            f"`flyball incidents --model {model}` shows it",
            model=model,
        )
    if is_training(conn, model):
        raise Conflict(
            f"a retraining of {model} is under way; it goes on while `flyball up` runs", model=model
        )
