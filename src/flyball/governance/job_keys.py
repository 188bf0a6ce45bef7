"""Keys of jobs whose ids are made of them: what a key stood for once, it stands for as long as its home."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from flyball.core.digests import digest_json
from flyball.core.errors import KeyInUse
from flyball.governance.request_keys import JOB, request_keys


class KeptJob(msgspec.Struct, frozen=True):
    """What a job was asked for, by names that people know, and its answer once it has one."""

    asked: dict[str, str]
    answer: dict[str, Any] | None = None


def find_job(conn: Connection, key: str) -> KeptJob | None:
    """The job of a key, or None."""
    kept = conn.execute(
        select(request_keys.c.answer).where(request_keys.c.key == JOB + key)
    ).scalar_one_or_none()
    return None if kept is None else msgspec.convert(kept, KeptJob)


def begin_job(conn: Connection, key: str, asked: dict[str, str], now: datetime) -> None:
    """Let a key stand for this job. Raises KeyInUse, saying what differs, if it stands for another one."""
    known = find_job(conn, key)
    if known is not None:
        check_same_job(key, known, asked)
        return
    kept = msgspec.to_builtins(KeptJob(asked))
    conn.execute(
        insert(request_keys).values(key=JOB + key, fingerprint=digest_json(asked), answer=kept, at=now)
    )


def end_job(conn: Connection, key: str, asked: dict[str, str], answer: dict[str, Any]) -> None:
    """Keep the answer of a job that was begun, in place of the one it gave before."""
    kept = msgspec.to_builtins(KeptJob(asked, answer))
    conn.execute(update(request_keys).where(request_keys.c.key == JOB + key).values(answer=kept))


def check_same_job(key: str, known: KeptJob, asked: dict[str, str]) -> None:
    """Raises KeyInUse, saying what differs, for a key under which something else was asked before."""
    differs = [
        f"{name} was {known.asked.get(name)}, is {value}"
        for name, value in asked.items()
        if known.asked.get(name) != value
    ]
    if differs:
        raise KeyInUse(
            f"the key {key!r} stands for something else: {'; '.join(differs)}. Choose another key",
            key=key,
            differs=differs,
        )
