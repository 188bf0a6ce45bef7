"""The catalogue: which snapshots there are, when each was taken and by which run."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, Text, insert, select

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.values import Actor
from flyball.data.snapshots import SnapshotManifest
from flyball.governance.journal import Change, record

snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("row_count", BigInteger, nullable=False),
    Column("column_count", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("model", String(63), index=True),
    Column("run_id", String(40)),
    Column("created_at", UtcDateTime, nullable=False),
)


class SnapshotEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot of the catalogue. `model` and `run_id`: who took it first."""

    digest: str
    row_count: int
    column_count: int
    size_bytes: int
    source: str
    model: str | None
    run_id: str | None
    created_at: datetime


def add_snapshot(
    conn: Connection,
    manifest: SnapshotManifest,
    *,
    actor: Actor,
    now: datetime,
    model: str | None = None,
    run_id: str | None = None,
) -> bool:
    """Enter a stored snapshot, with its audit entry and the event `snapshot.created`; False if it is entered."""
    known = conn.execute(
        select(snapshots.c.digest).where(snapshots.c.digest == manifest.digest)
    ).one_or_none()
    if known is not None:
        return False
    entry = SnapshotEntry(
        digest=manifest.digest,
        row_count=manifest.rows,
        column_count=len(manifest.columns),
        size_bytes=sum(part.size_bytes for part in manifest.parts),
        source=manifest.source,
        model=model,
        run_id=run_id,
        created_at=manifest.created_at,
    )
    conn.execute(insert(snapshots).values(**msgspec.structs.asdict(entry)))
    facts = {"rows": entry.row_count, "source": entry.source, "model": model, "run_id": run_id}
    change = Change(
        actor=actor,
        action="snapshot.created",
        subject=f"snapshot:{manifest.digest}",
        why="data of a run",
        facts={name: value for name, value in facts.items() if value is not None},
        event="snapshot.created",
    )
    record(conn, change, now)
    return True


def list_snapshots(conn: Connection, limit: int = 100, model: str | None = None) -> list[SnapshotEntry]:
    """Snapshots, newest first."""
    query = select(snapshots).order_by(snapshots.c.created_at.desc(), snapshots.c.digest).limit(limit)
    if model is not None:
        query = query.where(snapshots.c.model == model)
    return [SnapshotEntry(**row._mapping) for row in conn.execute(query)]
