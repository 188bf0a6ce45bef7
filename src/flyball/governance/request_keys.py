"""Requests that carry a key of their own (Idempotency-Key): however often one is sent, it changes things once.

The key is claimed in the same transaction as the change, with its audit entry; so a repeated request finds it even
if the process died between the change and its answer. Keys are forgotten after a week, but for those of jobs, whose
ids are made of them: what a key stood for once, it stands for as long as its home.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, delete, insert, select, update

from flyball.backends.db.database import Database
from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.clock import Clock
from flyball.core.errors import KeyInUse, Unavailable

KEPT = timedelta(days=7)
JOB = "job:"
"""What the keys of jobs begin with."""

request_keys = Table(
    "request_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(71), nullable=False),
    Column("entry", BigInteger),
    Column("answer", Json),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_request_keys_at", "at"),
)


class _Claim:
    """The key of the request that this thread carries out; `done` once a change was written under it."""

    def __init__(self, key: str, fingerprint: str) -> None:
        self.key = key
        self.fingerprint = fingerprint
        self.done = False


_claim: ContextVar[_Claim | None] = ContextVar("request_key", default=None)


class Kept(msgspec.Struct, frozen=True):
    """An answer, and whether it was given before."""

    answer: dict[str, Any]
    repeated: bool


def once(
    database: Database, clock: Clock, key: str, fingerprint: str, work: Callable[[], dict[str, Any]]
) -> Kept:
    """The answer of `work`, or the one it gave when the same request was sent before.

    key: who sent it, and the key they chose. fingerprint: digest of what was asked. An error of `work` is kept by
    nobody: it may be tried again. Raises KeyInUse when the key came with another request, or when the first attempt
    changed something and has no answer (yet).
    """
    if (kept := find_kept(database, key, fingerprint)) is not None:
        return kept
    with _claiming(key, fingerprint) as claim:
        answer: dict[str, Any] = msgspec.to_builtins(work())
    try:
        with database.write() as conn:
            if not claim.done:
                # Who asked the same at the same moment has answered first; nothing was changed by either.
                if (kept := _find(conn, key, fingerprint)) is not None:
                    return kept
                _insert(conn, claim, None, clock.now())
            conn.execute(update(request_keys).where(request_keys.c.key == claim.key).values(answer=answer))
            _forget_old(conn, clock.now())
    except Unavailable as error:
        if not claim.done:
            raise
        # The change stands and must not be told as failed; a repeat will hear that it was made.
        logging.getLogger(__name__).warning("the answer under key %s is not kept: %s", key, error.message)
    return Kept(answer, False)


def find_kept(database: Database, key: str, fingerprint: str) -> Kept | None:
    """The answer that a request gave under its key; None if it was not sent yet. Raises as `once`."""
    with database.read() as conn:
        return _find(conn, key, fingerprint)


def _find(conn: Connection, key: str, fingerprint: str) -> Kept | None:
    row = conn.execute(select(request_keys).where(request_keys.c.key == key)).one_or_none()
    return None if row is None else Kept(_answer_before(row, fingerprint), True)


def claim_key(conn: Connection, entry: int, now: datetime) -> None:
    """Write the key of the present request, if it has one, beside its first audit entry. Called by the journal.

    Raises KeyInUse when a request with the same key has just changed something: this transaction is undone.
    """
    claim = _claim.get()
    if claim is not None and not claim.done:
        _insert(conn, claim, entry, now)
        claim.done = True


@contextmanager
def _claiming(key: str, fingerprint: str) -> Iterator[_Claim]:
    claim = _Claim(key, fingerprint)
    token = _claim.set(claim)
    try:
        yield claim
    finally:
        _claim.reset(token)


def _forget_old(conn: Connection, now: datetime) -> None:
    is_old = request_keys.c.at < now - KEPT
    conn.execute(delete(request_keys).where(is_old, ~request_keys.c.key.startswith(JOB, autoescape=True)))


def _insert(conn: Connection, claim: _Claim, entry: int | None, now: datetime) -> None:
    # All writers are serialised from their first statement, so what is not there now can't appear before our insert.
    if conn.execute(select(request_keys.c.key).where(request_keys.c.key == claim.key)).first():
        raise KeyInUse(
            "another request with this Idempotency-Key is being carried out; ask again in a moment"
        )
    conn.execute(
        insert(request_keys).values(key=claim.key, fingerprint=claim.fingerprint, entry=entry, at=now)
    )


def _answer_before(row: Any, fingerprint: str) -> dict[str, Any]:
    if row.fingerprint != fingerprint:
        raise KeyInUse("this Idempotency-Key came with another request before; choose a new one")
    if row.answer is None:
        raise KeyInUse(
            f"a request with this Idempotency-Key has made its change (audit entry {row.entry}) and has no answer "
            "yet; ask again, or look at what changed",
            entry=row.entry,
        )
    answer: dict[str, Any] = row.answer
    return answer
