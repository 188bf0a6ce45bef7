"""`/api/v1/…` of the loop: deployments, rollouts, retrainings, signals, incidents, and people's decisions on them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response
from litestar.params import FromPath, JSONBody

from flyball.core.errors import BadInput
from flyball.delivery.rollouts import Rollout
from flyball.monitoring.incidents import Incident, IncidentEntry
from flyball.monitoring.signals import Signal
from flyball.retraining.retrainings import Retraining
from flyball.web.api.parameters import (
    App,
    Because,
    Check,
    Cursor,
    Decision,
    Deploy,
    InPath,
    Limit,
    ModelFilter,
    Note,
    RequestKey,
    Retrain,
    Rollback,
)
from flyball.web.names import read_incident, read_model, read_ref
from flyball.web.once import once
from flyball.web.paging import Page, take_page


class IncidentView(msgspec.Struct, frozen=True):
    """An incident with its timeline and signals."""

    incident: Incident
    entries: list[IncidentEntry]
    signals: list[Signal]


def list_deployments(flyball: App, limit: Limit = 50, cursor: Cursor = None) -> Page[dict[str, Any]]:
    """What is in service: champion, candidate and revision of each deployed model."""
    deployed = [model for model in flyball.status()["models"] if model["champion"] is not None]
    return take_page(lambda count: deployed[:count], lambda model: model["model"], limit, cursor)


def list_rollouts(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Rollout]:
    """Rollouts, newest first."""
    return take_page(
        lambda count: flyball.list_rollouts(model_name, count), lambda rollout: rollout.id, limit, cursor
    )


def list_retrainings(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Retraining]:
    """Retrainings, newest decision first."""
    return take_page(
        lambda count: flyball.list_retrainings(model_name, count), lambda found: found.id, limit, cursor
    )


def list_signals(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Signal]:
    """Alarms, newest first."""
    return take_page(
        lambda count: flyball.list_signals(model_name, count), lambda signal: signal.id, limit, cursor
    )


def list_incidents(
    flyball: App, model_name: ModelFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Incident]:
    """Incidents, newest first."""
    return take_page(
        lambda count: flyball.list_incidents(model_name, count), lambda incident: incident.id, limit, cursor
    )


def get_incident(flyball: App, incident_id: InPath) -> IncidentView:
    """One incident with its timeline and signals."""
    return IncidentView(**flyball.get_incident(read_incident(incident_id)))


def add_note(
    flyball: App, incident_id: InPath, data: JSONBody[Note], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Write a note into an incident's timeline."""
    name = read_incident(incident_id)

    def work() -> dict[str, Any]:
        flyball.add_note(name, data.text)
        return {"incident_id": name, "text": data.text}

    return once(flyball, request_key, ["note", name, data.text], work)


def deploy(
    flyball: App, model: InPath, data: JSONBody[Deploy], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Start a rollout of a version; the first one of a model becomes champion as soon as it is approved."""
    name = read_model(model)
    ref = name if data.version is None else read_ref(name, str(data.version))
    asked = ["deploy", name, msgspec.to_builtins(data)]
    settings = data.settings
    if settings is None:
        return once(
            flyball, request_key, asked, lambda: flyball.deploy(ref, why=data.why, strategy=data.strategy)
        )
    if data.version is None or data.strategy is not None:
        raise BadInput("settings are for one version, and their [rollout] names the strategy")
    return once(
        flyball, request_key, asked, lambda: flyball.deploy_under(ref, why=data.why, settings=settings)
    )


def decide_rollout(
    flyball: App,
    model: InPath,
    decision: FromPath[Decision],
    data: JSONBody[Because],
    request_key: RequestKey = None,
) -> Response[dict[str, Any]]:
    """Pause, resume, promote or abort the model's rollout by a person's decision."""
    name = read_model(model)
    return once(
        flyball,
        request_key,
        ["decide", name, decision, data.why],
        lambda: flyball.decide_rollout(name, decision, why=data.why),
    )


def rollback(
    flyball: App, model: InPath, data: JSONBody[Rollback], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Put the previous champion, or the version named, back into service at once."""
    name = read_model(model)
    to = None if data.to is None else str(data.to)
    if to is not None:
        read_ref(name, to)
    return once(
        flyball,
        request_key,
        ["rollback", name, msgspec.to_builtins(data)],
        lambda: flyball.rollback(name, to=to, why=data.why),
    )


def retrain(
    flyball: App, model: InPath, data: JSONBody[Retrain], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Ask for a retraining on the rows known by now; under a `key` that was used before, it is that retraining."""
    name = read_model(model)
    return once(
        flyball,
        request_key,
        ["retrain", name, data.why, *([] if data.key is None else [data.key])],
        lambda: flyball.retrain(name, why=data.why, key=data.key),
    )


def monitor(
    flyball: App, model: InPath, data: JSONBody[Check], request_key: RequestKey = None
) -> Response[dict[str, Any]]:
    """Have every window that is closed by now judged; the state of each check then. 503 while that goes on."""
    name = read_model(model)
    return once(
        flyball,
        request_key,
        ["monitor", name, data.key],
        lambda: {"checks": flyball.check_and_wait(name, key=data.key)},
    )
