"""Models: names under which versions are numbered."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Column, Connection, String, Table, Text, insert, select, update

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.errors import Conflict, ModelNotFound
from flyball.core.project import ModelSection, Task
from flyball.governance.actors import Actor
from flyball.governance.journal import Change, record

models = Table(
    "models",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("task", String(16), nullable=False),
    Column("owner", Text),
    Column("description", Text),
    Column("created_at", UtcDateTime, nullable=False),
)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what it predicts does not change, what it is called for people may."""

    name: str
    task: Task
    owner: str | None
    description: str | None
    created_at: datetime


def get_model(conn: Connection, name: str) -> Model:
    """One model. Raises ModelNotFound."""
    found = find_model(conn, name)
    if found is None:
        raise ModelNotFound(name)
    return found


def find_model(conn: Connection, name: str) -> Model | None:
    """One model, or None."""
    row = conn.execute(select(models).where(models.c.name == name)).one_or_none()
    return None if row is None else Model(**row._mapping)


def list_models(conn: Connection, limit: int = 10_000) -> list[Model]:
    """Models by name."""
    return [
        Model(**row._mapping) for row in conn.execute(select(models).order_by(models.c.name).limit(limit))
    ]


def ensure_model(conn: Connection, section: ModelSection, *, actor: Actor, now: datetime) -> Model:
    """The model of a project file, made when it is new; owner and description follow the file.

    Raises Conflict when a model of that name has another task.
    """
    known = find_model(conn, section.name)
    values = {"owner": section.owner, "description": section.description}
    if known is None:
        conn.execute(insert(models).values(name=section.name, task=section.task, created_at=now, **values))
        change = Change(
            actor=actor,
            action="model.created",
            subject=f"model:{section.name}",
            why="first version registered",
            facts={"model": section.name, "task": section.task},
            event="model.created",
        )
        record(conn, change, now)
    elif known.task != section.task:
        raise Conflict(
            f"{section.name} is a {known.task} model, the project says {section.task}; give the new model another name",
            model=section.name,
        )
    elif (known.owner, known.description) != (section.owner, section.description):
        conn.execute(update(models).where(models.c.name == section.name).values(**values))
        change = Change(
            actor=actor,
            action="model.described",
            subject=f"model:{section.name}",
            why="owner or description changed in the project file",
            facts={"model": section.name, **values},
            event=None,
        )
        record(conn, change, now)
    return get_model(conn, section.name)
