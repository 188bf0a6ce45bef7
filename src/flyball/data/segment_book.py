"""Which segments were folded, and in which batch: planned before the tables are touched, settled afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from flyball.backends.db.metadata import UtcDateTime, metadata

KEEP = timedelta(days=30)
_MOST_NAMES = 500

segments = Table(
    "segments",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("state", String(12), nullable=False),  # planned | folded | missing | unreadable
    Column("batch", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Index("ix_segments_state_batch", "state", "batch"),
)


def plan_batch(
    conn: Connection, sizes: dict[str, int], records: dict[str, int], after: int, now: datetime
) -> int:
    """Note that these segments make up the next batch; its number.

    Numbers grow and lie above `after`, the last one the tables have seen: a database that was restored from a backup
    knows less than they. They are milliseconds where the clock permits, for people who look at them.
    """
    last = conn.execute(select(func.max(segments.c.batch))).scalar()
    batch: int = max((last or 0) + 1, after + 1, int(now.timestamp() * 1000))
    conn.execute(
        insert(segments),
        [
            {
                "name": name,
                "state": "planned",
                "batch": batch,
                "size_bytes": size,
                "records": records[name],
                "planned_at": now,
                "settled_at": None,
            }
            for name, size in sizes.items()
        ],
    )
    return batch


def find_planned(conn: Connection) -> tuple[int, list[str]] | None:
    """Number and segments of the batch that was planned and not settled; None when there is none."""
    rows = conn.execute(
        select(segments.c.batch, segments.c.name)
        .where(segments.c.state == "planned")
        .order_by(segments.c.batch, segments.c.name)
    ).all()
    if not rows:
        return None
    return rows[0].batch, [row.name for row in rows if row.batch == rows[0].batch]


def last_settled(conn: Connection) -> int:
    """The number of the last batch that is in the tables; 0 when there is none."""
    found = conn.execute(select(func.max(segments.c.batch)).where(segments.c.state == "folded")).scalar()
    return int(found or 0)


def known_states(conn: Connection, names: Sequence[str]) -> dict[str, str]:
    """The state of those of these segments that are in the book."""
    states: dict[str, str] = {}
    for start in range(0, len(names), _MOST_NAMES):
        part = names[start : start + _MOST_NAMES]
        rows = conn.execute(select(segments.c.name, segments.c.state).where(segments.c.name.in_(part)))
        states.update((row.name, row.state) for row in rows)
    return states


def settle_batch(conn: Connection, batch: int, missing: Collection[str], now: datetime) -> bool:
    """Note that the batch is in the tables; False when another folder noted it before.

    missing: segments that were gone before they could be read.
    """
    settled = conn.execute(
        update(segments)
        .where(segments.c.batch == batch, segments.c.state == "planned")
        .values(state="folded", settled_at=now)
    )
    if settled.rowcount == 0:
        return False
    if missing:
        conn.execute(update(segments).where(segments.c.name.in_(list(missing))).values(state="missing"))
    conn.execute(delete(segments).where(segments.c.state == "folded", segments.c.settled_at < now - KEEP))
    return True


def note_unreadable(conn: Connection, name: str, size_bytes: int, now: datetime) -> None:
    """Note that an object is no segment; it stays where it is, for people to look at, and is not read again."""
    conn.execute(
        insert(segments).values(
            name=name,
            state="unreadable",
            batch=0,
            size_bytes=size_bytes,
            records=0,
            planned_at=now,
            settled_at=now,
        )
    )


def list_unreadable(conn: Connection, limit: int = 100) -> list[str]:
    """Segments that could not be read, or were gone before they were folded."""
    rows = conn.execute(
        select(segments.c.name)
        .where(segments.c.state.in_(("unreadable", "missing")))
        .order_by(segments.c.name)
        .limit(limit)
    )
    return [row.name for row in rows]
