"""What people decide on the console's pages: plain forms, answered by going back to the page they came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from flyball.app import ControlApp
from flyball.web.api.parameters import LONGEST_REASON, App, Decision, InPath
from flyball.web.names import read_incident, read_model, read_ref
from flyball.web.once import once

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class WhyForm(msgspec.Struct):
    """A decision with its reason. `key` names the form, so that sending it twice decides once."""

    key: Key
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]


class DeployForm(WhyForm, kw_only=True):
    """Which version to roll out, and why."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class NoteForm(msgspec.Struct):
    """A note on an incident."""

    key: Key
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


Why = URLEncodedBody[WhyForm]
DeployData = URLEncodedBody[DeployForm]
NoteData = URLEncodedBody[NoteForm]


def deploy(flyball: App, model: InPath, data: DeployData) -> Redirect:
    """Roll a version out."""
    name = read_model(model)
    ref = read_ref(name, data.version)
    return _decided(flyball, data.key, f"/models/{name}", lambda: flyball.deploy(ref, why=data.why))


def decide(flyball: App, model: InPath, decision: FromPath[Decision], data: Why) -> Redirect:
    """Pause, resume, promote or abort a rollout."""
    name = read_model(model)
    return _decided(
        flyball, data.key, f"/models/{name}", lambda: flyball.decide_rollout(name, decision, why=data.why)
    )


def rollback(flyball: App, model: InPath, data: Why) -> Redirect:
    """Put the previous champion back into service."""
    name = read_model(model)
    return _decided(
        flyball, data.key, f"/models/{name}", lambda: flyball.rollback(name, to=None, why=data.why)
    )


def retrain(flyball: App, model: InPath, data: Why) -> Redirect:
    """Ask for a retraining."""
    name = read_model(model)
    return _decided(flyball, data.key, f"/models/{name}", lambda: flyball.retrain(name, why=data.why))


def add_note(flyball: App, incident_id: InPath, data: NoteData) -> Redirect:
    """Write a note into an incident's timeline."""
    name = read_incident(incident_id)
    return _decided(flyball, data.key, f"/incidents/{name}", lambda: flyball.add_note(name, data.text))


def _decided(flyball: ControlApp, key: str, back: str, work: Callable[[], Any]) -> Redirect:
    once(flyball, key, [back, key], work)
    return Redirect(back, status_code=303)
