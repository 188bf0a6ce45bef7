"""Models: the names under which versions are numbered."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Column, Connection, String, Table, Text, insert, select, update

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.errors import Conflict, InvalidReference, ModelNotFound
from flyball.core.project import Task
from flyball.core.refs import MODEL_NAME
from flyball.core.values import Actor
from flyball.governance.journal import Change, record

models = Table(
    "models",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("task", String(16), nullable=False),
    Column("owner", Text),
    Column("description", Text),
    Column("created_at", UtcDateTime, nullable=False),
)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what it predicts does not change; who answers for it and how it is described may."""

    name: str
    task: Task
    owner: str | None
    description: str | None
    created_at: datetime


def ensure_model(
    conn: Connection,
    *,
    name: str,
    task: Task,
    owner: str | None = None,
    description: str | None = None,
    actor: Actor,
    now: datetime,
) -> Model:
    """The model of that name, made when it is new; owner and description follow what is given.

    In the caller's write transaction, with its journal. Raises InvalidReference, Conflict when it has another task.
    """
    if not MODEL_NAME.match(name):
        raise InvalidReference(name, "a model name has 2 to 63 characters of a-z, 0-9 and -")
    known = find_model(conn, name)
    if known is None:
        model = Model(name=name, task=task, owner=owner, description=description, created_at=now)
        conn.execute(insert(models).values(msgspec.structs.asdict(model)))
        _tell(conn, model, "model.created", actor, now)
        return model
    if known.task != task:
        raise Conflict(
            f"{name} is a {known.task} model, and this is {task}; give the new model another name", model=name
        )
    model = msgspec.structs.replace(known, owner=owner, description=description)
    if model != known:
        changed = {"owner": owner, "description": description}
        conn.execute(update(models).where(models.c.name == name).values(changed))
        _tell(conn, model, "model.changed", actor, now)
    return model


def get_model(conn: Connection, name: str) -> Model:
    """The model of that name. Raises ModelNotFound."""
    found = find_model(conn, name)
    if found is None:
        raise ModelNotFound(name)
    return found


def find_model(conn: Connection, name: str) -> Model | None:
    """The model of that name, or None."""
    row = conn.execute(select(models).where(models.c.name == name)).one_or_none()
    return None if row is None else Model(**row._mapping)


def list_models(conn: Connection, limit: int = 10_000) -> list[Model]:
    """Models by name."""
    rows = conn.execute(select(models).order_by(models.c.name).limit(limit))
    return [Model(**row._mapping) for row in rows]


def _tell(conn: Connection, model: Model, action: str, actor: Actor, now: datetime) -> None:
    facts = {"model": model.name, "task": model.task, "owner": model.owner, "description": model.description}
    change = Change(actor=actor, action=action, subject=f"model:{model.name}", facts=facts, event=action)
    record(conn, change, now)
