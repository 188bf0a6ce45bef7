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
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.governance.actors import Actor
from flyball.governance.journal import Change, record
from flyball.registry.aliases import find_alias
from flyball.registry.models import ensure_model, get_model

VersionState = Literal["registered", "refused"]

versions = Table(
    "versions",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String(71), nullable=False, index=True),
    Column("run_id", String(40)),
    Column("state", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("snapshot", String(71)),
    Column("source_tree", String(71)),
    Column("environment", String(71)),
    Column("isolated", Boolean, nullable=False),
    Column("contract", Json, nullable=False),
    Column("project", Json, nullable=False),
    Column("params", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("lineage", Json, nullable=False),
    Column("why", Text, nullable=False),
    Column("author", String(255), nullable=False),
    UniqueConstraint("run_id"),
)


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a run hands over for registration.

    digest: of the bundle's manifest. isolated: it needs a model process of its own. metrics: name to measured value,
    as JSON. lineage: whatever else it came from (git state, signal, champion compared with).
    """

    project: Project
    digest: str
    state: VersionState
    run_id: str | None
    contract: Contract
    isolated: bool = False
    snapshot: str | None = None
    source_tree: str | None = None
    environment: str | None = None
    params: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    lineage: dict[str, Any] = {}
    why: str = ""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version. `refused` ones failed a gate: they are kept, and never deployed by themselves."""

    model: str
    number: int
    digest: str
    run_id: str | None
    state: VersionState
    created_at: datetime
    snapshot: str | None
    source_tree: str | None
    environment: str | None
    isolated: bool
    contract: dict[str, Any]
    project: dict[str, Any]
    params: dict[str, Any]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    why: str
    author: str


def register_version(conn: Connection, new: NewVersion, *, actor: Actor, now: datetime) -> ModelVersion:
    """The version, numbered, with its event and audit entry, in the caller's write transaction.

    A run registers once: the same run again gets the version it already has. Raises Conflict for another task, and for
    a run that comes back with other content.
    """
    if not is_digest(new.digest):
        raise BadInput(f"{new.digest[:80]!r} is no digest of a bundle", digest=new.digest[:80])
    if new.run_id is not None:
        known = find_by_run(conn, new.run_id)
        if known is not None:
            if (known.model, known.digest, known.state) != (new.project.model.name, new.digest, new.state):
                raise Conflict(
                    f"run {new.run_id} has registered {known.model}@{known.number} ({known.digest}) and can't register "
                    f"{new.digest} as well",
                    run_id=new.run_id,
                )
            return known
    model = ensure_model(conn, new.project.model, actor=actor, now=now).name
    # Writers are serialised (db.write), so the highest number stays the highest until this commits: numbers are dense.
    number = 1 + (
        conn.execute(select(func.max(versions.c.number)).where(versions.c.model == model)).scalar() or 0
    )
    plain = {name: getattr(new, name) for name in new.__struct_fields__ if name != "project"}
    project: dict[str, Any] = msgspec.to_builtins(new.project)
    values = {**plain, "contract": msgspec.to_builtins(new.contract), "project": project}
    conn.execute(
        insert(versions).values(model=model, number=number, created_at=now, author=actor.name, **values)
    )
    change = Change(
        actor=actor,
        action=f"version.{new.state}",
        subject=f"version:{model}@{number}",
        why=new.why,
        facts={
            "model": model,
            "version": number,
            "digest": new.digest,
            "run_id": new.run_id,
            "state": new.state,
            "snapshot": new.snapshot,
        },
        event="version.created",
    )
    record(conn, change, now)
    return get_version(conn, model, number)


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
    return None if row is None else ModelVersion(**row._mapping)


def find_by_run(conn: Connection, run_id: str) -> ModelVersion | None:
    """The version a run registered, or None."""
    row = conn.execute(select(versions).where(versions.c.run_id == run_id)).one_or_none()
    return None if row is None else ModelVersion(**row._mapping)


def find_by_digest(conn: Connection, model: str, digest: str) -> ModelVersion | None:
    """The newest version of a model with this bundle, or None."""
    query = select(versions).where(versions.c.model == model, versions.c.digest == digest)
    row = conn.execute(query.order_by(versions.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else ModelVersion(**row._mapping)


def list_versions(
    conn: Connection, model: str, *, limit: int = 200, before: int | None = None
) -> list[ModelVersion]:
    """Versions of a model, newest first; `before` pages on."""
    query = select(versions).where(versions.c.model == model)
    if before is not None:
        query = query.where(versions.c.number < before)
    rows = conn.execute(query.order_by(versions.c.number.desc()).limit(limit))
    return [ModelVersion(**row._mapping) for row in rows]


def resolve(conn: Connection, ref: ModelRef) -> ModelVersion:
    """The version a reference points at; a bare model means its champion, else its newest registered version.

    Raises ModelNotFound, VersionNotFound, NoChampion, InvalidReference when a digest prefix fits several versions.
    """
    model = get_model(conn, ref.model).name
    if ref.number is not None:
        return get_version(conn, model, ref.number)
    if ref.digest_prefix is not None:
        return _by_prefix(conn, model, ref.digest_prefix)
    alias = find_alias(conn, model, ref.alias or "champion")
    if alias is not None:
        return get_version(conn, model, alias.number)
    if ref.alias == "champion":
        raise NoChampion(model)
    if ref.alias is not None:
        raise VersionNotFound(model, ref.alias)
    query = select(versions).where(versions.c.model == model, versions.c.state == "registered")
    row = conn.execute(query.order_by(versions.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        raise VersionNotFound(model, "that is registered")
    return ModelVersion(**row._mapping)


def _by_prefix(conn: Connection, model: str, prefix: str) -> ModelVersion:
    query = select(versions).where(
        versions.c.model == model, versions.c.digest.startswith(f"sha256:{prefix}")
    )
    rows = conn.execute(query.order_by(versions.c.number.desc())).all()
    if not rows:
        raise VersionNotFound(model, prefix)
    if len({row.digest for row in rows}) > 1:
        raise InvalidReference(f"{model}@{prefix}", f"{len(rows)} versions begin so; give more digits")
    return ModelVersion(**rows[0]._mapping)
