"""Aliases: movable names for versions (`champion`, `candidate`, `previous`, or the user's own), and every move."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.clock import isoformat
from flyball.core.values import Actor
from flyball.governance.journal import Change, record

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("from_number", Integer),
    Column("to_number", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("model_time", UtcDateTime),
    Column("actor", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_alias_history_model_seq", "model", "seq"),
)


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """Where a name points now."""

    model: str
    name: str
    number: int
    moved_at: datetime


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of a name. `from_number` is None for its first, `to_number` None where it was taken away.

    `seq` counts the moves of all models in the order of commits. `at` is wall time, `model_time` the model's clock
    (None before any traffic).
    """

    seq: int
    model: str
    name: str
    from_number: int | None
    to_number: int | None
    at: datetime
    model_time: datetime | None
    actor: str
    why: str


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
) -> AliasMove | None:
    """Point a name at a version, in the caller's write transaction; None if it points there already.

    That the version exists and may have the name is the caller's business.
    """
    known = find_alias(conn, model, name)
    if known is not None and known.number == number:
        return None
    if known is None:
        conn.execute(insert(aliases).values(model=model, name=name, number=number, moved_at=now))
    else:
        this = (aliases.c.model == model) & (aliases.c.name == name)
        conn.execute(update(aliases).where(this).values(number=number, moved_at=now))
    return _note(conn, model, name, known, number, actor=actor, why=why, now=now, model_time=model_time)


def drop_alias(
    conn: Connection,
    model: str,
    name: str,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None = None,
) -> AliasMove | None:
    """Take a name away; None if nothing has it."""
    known = find_alias(conn, model, name)
    if known is None:
        return None
    conn.execute(delete(aliases).where(aliases.c.model == model, aliases.c.name == name))
    return _note(conn, model, name, known, None, actor=actor, why=why, now=now, model_time=model_time)


def find_alias(conn: Connection, model: str, name: str) -> Alias | None:
    """Where a name points, or None."""
    query = select(aliases).where(aliases.c.model == model, aliases.c.name == name)
    row = conn.execute(query).one_or_none()
    return None if row is None else Alias(**row._mapping)


def list_aliases(conn: Connection, model: str) -> list[Alias]:
    """All names of a model's versions, by name."""
    query = select(aliases).where(aliases.c.model == model).order_by(aliases.c.name)
    return [Alias(**row._mapping) for row in conn.execute(query)]


def list_history(conn: Connection, model: str, limit: int | None = None) -> list[AliasMove]:
    """Every move of a model's names, oldest first; with a limit, the newest of them."""
    query = select(alias_history).where(alias_history.c.model == model)
    rows = conn.execute(query.order_by(alias_history.c.seq.desc()).limit(limit))
    return [AliasMove(**row._mapping) for row in rows][::-1]


def _note(
    conn: Connection,
    model: str,
    name: str,
    known: Alias | None,
    to_number: int | None,
    *,
    actor: Actor,
    why: str,
    now: datetime,
    model_time: datetime | None,
) -> AliasMove:
    highest = conn.execute(select(func.max(alias_history.c.seq))).scalar()
    move = AliasMove(
        seq=(highest or 0) + 1,
        model=model,
        name=name,
        from_number=known.number if known else None,
        to_number=to_number,
        at=now,
        model_time=model_time,
        actor=actor.name,
        why=why,
    )
    conn.execute(insert(alias_history).values(msgspec.structs.asdict(move)))
    facts = {
        "model": model,
        "alias": name,
        "from": move.from_number,
        "to": to_number,
        "model_time": isoformat(model_time) if model_time else None,
    }
    change = Change(
        actor=actor,
        action="alias.moved",
        subject=f"alias:{model}@{name}",
        why=why,
        facts=facts,
        event="alias.moved",
    )
    record(conn, change, now)
    return move
