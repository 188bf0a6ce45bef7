"""Aliases: movable names for versions, with the history of every move."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Column, Connection, Index, Integer, String, Table, Text, delete, func, insert, select

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.governance.actors import Actor
from flyball.governance.journal import Change, record

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("name", String(63), nullable=False),
    Column("from_number", Integer),
    Column("to_number", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("model_time", UtcDateTime),
    Column("actor", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_alias_history_model_name", "model", "name"),
)


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name that points at a version of a model."""

    model: str
    name: str
    number: int
    moved_at: datetime


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move: `from_number` is None when the name is new, `to_number` None when it was dropped.

    `at` is wall time, `model_time` the model's clock (None before any traffic).
    """

    model: str
    sequence: int
    name: str
    from_number: int | None
    to_number: int | None
    at: datetime
    model_time: datetime | None
    actor: str
    why: str


def find_alias(conn: Connection, model: str, name: str) -> Alias | None:
    """Where a name points, or None."""
    row = conn.execute(select(aliases).where(aliases.c.model == model, aliases.c.name == name)).one_or_none()
    return None if row is None else Alias(**row._mapping)


def list_aliases(conn: Connection, model: str) -> list[Alias]:
    """The names of a model's versions."""
    rows = conn.execute(select(aliases).where(aliases.c.model == model).order_by(aliases.c.name))
    return [Alias(**row._mapping) for row in rows]


def move_alias(
    conn: Connection,
    model: str,
    name: str,
    number: int,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None = None,
) -> None:
    """Point a name at a version; a name that points there already is left alone."""
    before = find_alias(conn, model, name)
    if before is not None and before.number == number:
        return
    conn.execute(delete(aliases).where(aliases.c.model == model, aliases.c.name == name))
    conn.execute(insert(aliases).values(model=model, name=name, number=number, moved_at=now))
    _note(conn, model, name, before.number if before else None, number, actor, why, now, model_time)


def drop_alias(
    conn: Connection,
    model: str,
    name: str,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None = None,
) -> None:
    """Take a name away; absent is fine."""
    before = find_alias(conn, model, name)
    if before is None:
        return
    conn.execute(delete(aliases).where(aliases.c.model == model, aliases.c.name == name))
    _note(conn, model, name, before.number, None, actor, why, now, model_time)


def list_history(conn: Connection, model: str, *, limit: int = 10_000) -> list[AliasMove]:
    """Every move of a model's names, oldest first."""
    query = (
        select(alias_history)
        .where(alias_history.c.model == model)
        .order_by(alias_history.c.sequence)
        .limit(limit)
    )
    return [AliasMove(**row._mapping) for row in conn.execute(query)]


def find_champion_at(conn: Connection, model: str, at: datetime) -> int | None:
    """The version that was champion at a wall moment, or None."""
    query = select(alias_history.c.to_number).where(
        alias_history.c.model == model, alias_history.c.name == "champion", alias_history.c.at <= at
    )
    number: int | None = conn.execute(query.order_by(alias_history.c.sequence.desc()).limit(1)).scalar()
    return number


def _note(
    conn: Connection,
    model: str,
    name: str,
    before: int | None,
    after: int | None,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None,
) -> None:
    newest = conn.execute(
        select(func.max(alias_history.c.sequence)).where(alias_history.c.model == model)
    ).scalar()
    conn.execute(
        insert(alias_history).values(
            model=model,
            sequence=1 + (newest or 0),
            name=name,
            from_number=before,
            to_number=after,
            at=now,
            model_time=model_time,
            actor=actor.name,
            why=why,
        )
    )
    change = Change(
        actor=actor,
        action="alias.moved" if after is not None else "alias.dropped",
        subject=f"alias:{model}@{name}",
        why=why,
        facts={"model": model, "alias": name, "from": before, "to": after, "model_time": model_time},
        event="alias.moved",
    )
    record(conn, change, now)
