"""Versions: immutable packages, numbered densely under a model. Nothing of a row ever changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
)

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.contract import Contract
from flyball.core.digests import is_digest
from flyball.core.errors import BadInput, Conflict, InvalidReference, NoChampion, VersionNotFound
from flyball.core.project import Task
from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.registry.aliases import find_alias
from flyball.registry.models import ensure_model, get_model

VersionState = Literal["registered", "refused"]

versions = Table(
    "versions",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(71), nullable=False, index=True),
    Column("run_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("task", String(16), nullable=False),
    Column("isolated", Boolean, nullable=False),
    Column("snapshot", String(71)),
    Column("source_tree", String(71)),
    Column("environment", String(71)),
    Column("project", Json, nullable=False),
    Column("contract", Json, nullable=False),
    Column("params", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("lineage", Json, nullable=False),
    Column("why", Text, nullable=False),
    Column("author", String(255), nullable=False),
    UniqueConstraint("run_id"),
)


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version before it has its number.

    digest: of its bundle, which is stored already. run_id: the run that made it; None for a model trained elsewhere.
    state `refused`: it failed its gates, is kept, and can't be put into service. snapshot, source_tree, environment:
    digests of what it was made from, None where that is unknown. isolated: it answers in a process of its own.
    """

    model: str
    task: Task
    digest: str
    state: VersionState
    author: str
    run_id: str | None = None
    isolated: bool = False
    snapshot: str | None = None
    source_tree: str | None = None
    environment: str | None = None
    project: dict[str, Any] = {}
    contract: Contract = Contract()
    params: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    lineage: dict[str, Any] = {}
    why: str = ""
    owner: str | None = None
    description: str | None = None


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version: nothing about it ever changes, except evidence being added."""

    model: str
    number: int
    digest: str
    run_id: str | None
    state: VersionState
    created_at: datetime
    task: Task
    isolated: bool
    snapshot: str | None
    source_tree: str | None
    environment: str | None
    project: dict[str, Any]
    contract: Contract
    params: dict[str, Any]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    why: str
    author: str


def register_version(conn: Connection, new: NewVersion, actor: Actor, now: datetime) -> ModelVersion:
    """The version with its number, in the caller's write transaction, with event and audit entry.

    A run registers once: the same run again gets the version it already has. Raises Conflict for another task than the
    model's, and for a run that comes back with other content.
    """
    if not is_digest(new.digest):
        raise BadInput(f"{new.digest[:80]!r} is no digest of a bundle", digest=new.digest[:80])
    if new.run_id is not None and (known := find_by_run(conn, new.run_id)) is not None:
        if (known.model, known.digest, known.state) != (new.model, new.digest, new.state):
            raise Conflict(
                f"run {new.run_id} has registered {known.model}@{known.number} ({known.digest}) and can't register "
                f"{new.digest} as well",
                run_id=new.run_id,
            )
        return known
    ensure_model(
        conn,
        name=new.model,
        task=new.task,
        owner=new.owner,
        description=new.description,
        actor=actor,
        now=now,
    )
    # Write transactions are serialised from their first statement, so the highest number can't be taken twice.
    highest = conn.execute(select(func.max(versions.c.number)).where(versions.c.model == new.model)).scalar()
    values = msgspec.structs.asdict(new) | {"number": (highest or 0) + 1, "created_at": now}
    del values["owner"], values["description"]
    conn.execute(insert(versions).values(values))
    version = get_version(conn, new.model, values["number"])
    _tell(conn, version, actor, now)
    return version


def get_version(conn: Connection, model: str, number: int) -> ModelVersion:
    """One version of a model. Raises ModelNotFound, VersionNotFound."""
    found = find_version(conn, model, number)
    if found is None:
        get_model(conn, model)
        raise VersionNotFound(model, number)
    return found


def find_version(conn: Connection, model: str, number: int) -> ModelVersion | None:
    """One version of a model, or None."""
    query = select(versions).where(versions.c.model == model, versions.c.number == number)
    row = conn.execute(query).one_or_none()
    return None if row is None else _read(row)


def find_by_run(conn: Connection, run_id: str) -> ModelVersion | None:
    """The version that a run registered, or None."""
    row = conn.execute(select(versions).where(versions.c.run_id == run_id)).one_or_none()
    return None if row is None else _read(row)


def find_by_digest(conn: Connection, digest: str) -> list[ModelVersion]:
    """Versions of any model with this bundle, oldest first; the same content may be registered more than once."""
    query = select(versions).where(versions.c.digest == digest).order_by(versions.c.model, versions.c.number)
    return [_read(row) for row in conn.execute(query)]


def list_versions(
    conn: Connection, model: str, limit: int = 100, *, before: int | None = None
) -> list[ModelVersion]:
    """A model's versions, newest first; `before` pages on."""
    query = select(versions).where(versions.c.model == model)
    if before is not None:
        query = query.where(versions.c.number < before)
    return [_read(row) for row in conn.execute(query.order_by(versions.c.number.desc()).limit(limit))]


def resolve(conn: Connection, ref: ModelRef) -> ModelVersion:
    """The version that a reference points at; a bare model means its champion, else its newest registered version.

    Raises ModelNotFound, VersionNotFound, NoChampion, InvalidReference when a digest prefix fits several versions.
    """
    get_model(conn, ref.model)
    if ref.number is not None:
        return get_version(conn, ref.model, ref.number)
    if ref.digest_prefix is not None:
        return _by_prefix(conn, ref.model, ref.digest_prefix)
    alias = find_alias(conn, ref.model, ref.alias or "champion")
    if alias is not None:
        return get_version(conn, ref.model, alias.number)
    if ref.alias == "champion":
        raise NoChampion(ref.model)
    if ref.alias is not None:
        raise VersionNotFound(ref.model, ref.alias)
    query = select(versions).where(versions.c.model == ref.model, versions.c.state == "registered")
    row = conn.execute(query.order_by(versions.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        raise VersionNotFound(ref.model, "that passed its gates")
    return _read(row)


def _by_prefix(conn: Connection, model: str, prefix: str) -> ModelVersion:
    query = select(versions).where(
        versions.c.model == model, versions.c.digest.startswith(f"sha256:{prefix}", autoescape=True)
    )
    found = [_read(row) for row in conn.execute(query.order_by(versions.c.number.desc()))]
    if not found:
        raise VersionNotFound(model, prefix)
    # The same bundle under several numbers is the same answer: the newest stands for all.
    if len({version.digest for version in found}) > 1:
        numbers = ", ".join(str(version.number) for version in found)
        raise InvalidReference(f"{model}@{prefix}", f"the versions {numbers} begin so; give more digits")
    return found[0]


def _read(row: Row[Any]) -> ModelVersion:
    values = dict(row._mapping)
    values["contract"] = msgspec.convert(values["contract"], Contract)
    return ModelVersion(**values)


def _tell(conn: Connection, version: ModelVersion, actor: Actor, now: datetime) -> None:
    facts = {
        "model": version.model,
        "version": version.number,
        "digest": version.digest,
        "state": version.state,
        "run_id": version.run_id,
        "snapshot": version.snapshot,
        "source_tree": version.source_tree,
        "environment": version.environment,
    }
    change = Change(
        actor=actor,
        action=f"version.{version.state}",
        subject=f"version:{version.model}@{version.number}",
        why=version.why,
        facts=facts,
        event="version.created",
    )
    record(conn, change, now)
