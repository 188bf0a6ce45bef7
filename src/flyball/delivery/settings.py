"""Other settings for the version in service: a new revision with the same champion, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.errors import BadInput, NoChampion
from flyball.core.project import Project
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.registry.routes import Deployment, current, want

# What says how a version is watched and replaced; the rest says what it is, and comes with another version only.
SECTIONS = ("rollout", "monitor", "log", "retrain")


def settings_of(project: Project | dict[str, Any]) -> dict[str, Any]:
    """The sections that can change while a version is in service, each in full."""
    typed = project if isinstance(project, Project) else msgspec.convert(project, Project)
    whole: dict[str, Any] = msgspec.to_builtins(typed)
    return {name: whole[name] for name in SECTIONS}


def change_settings(
    conn: Connection,
    model: str,
    settings: dict[str, Any],
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None,
) -> int:
    """Let other settings hold from the returned revision on; champion, candidate and shares stay.

    settings: those of `settings_of`. A rollout under way keeps the settings it was started with. Raises NoChampion,
    and BadInput without a reason, for other sections, or for settings of no project.
    """
    if not why.strip():
        raise BadInput("say why: the reason is kept with the settings")
    if strange := sorted(set(settings) - set(SECTIONS)):
        raise BadInput(
            f"{', '.join(strange)} can't change without another version; only {', '.join(SECTIONS)}"
        )
    deployment = current(conn, model)
    if deployment is None or deployment.champion is None:
        raise NoChampion(model)
    project = _with_settings(deployment, settings)
    wanted = replace(deployment.wanted, project=msgspec.to_builtins(project))
    revision = want(conn, model, wanted, actor=actor, why=why, now=now)
    facts = {
        "model": model,
        "version": deployment.champion,
        "revision": revision,
        "was": settings_of(deployment.project),
        "settings": settings_of(project),
        "model_time": isoformat(model_time or now),
        "because": why,
    }
    action = "deployment.settings_changed"
    change = Change(
        actor=actor, action=action, subject=f"deployment:{model}", why=why, facts=facts, event=action
    )
    record(conn, change, now)
    return revision


def _with_settings(deployment: Deployment, settings: dict[str, Any]) -> Project:
    try:
        return msgspec.convert({**deployment.project, **settings}, Project)
    except msgspec.ValidationError as error:
        problem = f"these are no settings of {deployment.model}: {error}"
        raise BadInput(problem, model=deployment.model) from error
