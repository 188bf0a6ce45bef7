"""Whether the audit trail is whole: no entry changed, missing, added or moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import Connection

from flyball.core.digests import is_digest
from flyball.core.errors import BadInput
from flyball.governance.journal import (
    FORMAT,
    GENESIS,
    Entry,
    Head,
    audit_entries,
    digest_of,
    head,
    model_of,
    read_entry,
)
from flyball.governance.witnesses import Witness, find_missing

# What reading a column raises when it holds what was never written there.
_UNREADABLE = (ValueError, TypeError, AttributeError, msgspec.MsgspecError)


class Verification(msgspec.Struct, frozen=True):
    """What a check of the chain found. `bad_number` is the first number at which it does not hold."""

    ok: bool
    entries: int  # how many were read and hold
    head: Head  # the last one that holds
    problem: str | None = None
    bad_number: int | None = None


def parse_head(text: str) -> Head:
    """A head as it is printed: number, colon, digest. Raises BadInput."""
    number, _, digest = text.strip().partition(":")
    if not number.isascii() or not number.isdigit() or not is_digest(digest):
        raise BadInput(f"{text[:100]!r} is no head of the audit trail; it looks like 128:sha256:<64 digits>")
    return Head(int(number), digest)


def verify(conn: Connection, anchor: Head | None = None, witnesses: Iterable[Witness] = ()) -> Verification:
    """Read the whole chain, a piece at a time, and compare it with itself, with `anchor`, and with what else is known.

    anchor: a head noted earlier and kept elsewhere. Whoever can rewrite the database can rewrite the whole chain
    to fit, up to here; with an anchor, nothing before it can have been touched unnoticed.
    witnesses: further tables whose rows were written with entries; events and requests are asked in any case.
    """
    try:
        found = check_chain(_read(conn, 1000), end=head(conn), anchor=anchor)
    except _UNREADABLE:
        return _unreadable(conn)  # somewhere in a piece; one by one says where
    missing = find_missing(conn, witnesses, found.head.number) if found.ok else None
    if missing is None:
        return found
    return Verification(False, found.entries, found.head, missing, found.head.number + 1)


def _unreadable(conn: Connection) -> Verification:
    last = Head(0, GENESIS)
    try:
        for entry, _ in _read(conn, 1):
            last = Head(entry.number, entry.digest)
    except _UNREADABLE as error:
        problem = f"entry {last.number + 1} was changed: it can't be read any more ({str(error)[:200]})"
        return Verification(False, last.number, last, problem, last.number + 1)
    raise AssertionError("entries that could not be read can be read one by one")


def _read(conn: Connection, piece: int) -> Iterator[tuple[Entry, str | None]]:
    query = select(audit_entries).order_by(audit_entries.c.number)
    for row in conn.execute(query, execution_options={"yield_per": piece}):
        yield read_entry(row), row.model


def check_chain(
    entries: Iterable[tuple[Entry, str | None]], *, end: Head, anchor: Head | None = None
) -> Verification:
    """Whether entries, in the order of their numbers and with their model columns, are one unbroken chain to `end`."""
    last = Head(0, GENESIS)
    for entry, model in entries:
        problem = _problem(entry, model, last)
        if (
            problem is None
            and anchor is not None
            and entry.number == anchor.number
            and entry.digest != anchor.digest
        ):
            problem = f"entry {entry.number} is not the one of the anchored head: the chain was rewritten"
        if problem is not None:
            return Verification(False, last.number, last, problem, min(entry.number, last.number + 1))
        last = Head(entry.number, entry.digest)
    if last != end:
        problem = f"the chain ends at {last.number}, {end.number} entries were written: the rest is missing"
        if last.number >= end.number:
            problem = f"entry {last.number} was added or replaced behind the chain's back"
        return Verification(False, last.number, last, problem, min(last.number, end.number) + 1)
    if anchor is not None and anchor.number > last.number:
        problem = (
            f"the chain ends at {last.number}, the anchored head is {anchor.number}: the rest is missing"
        )
        return Verification(False, last.number, last, problem, last.number + 1)
    return Verification(True, last.number, last)


def _problem(entry: Entry, model: str | None, last: Head) -> str | None:
    number = last.number + 1
    if entry.number > number:
        return f"entry {number} is missing"
    if entry.number < number:
        return f"entry {entry.number} stands where {number} belongs"
    if entry.format > FORMAT:
        return f"entry {number} has format {entry.format}, which a newer Flyball writes"
    if entry.previous != last.digest:
        return f"entry {number} does not follow entry {last.number}: one of them was changed, or others were between"
    if digest_of(entry) != entry.digest:
        return f"entry {number} was changed"
    if model != model_of(entry.facts):
        return f"entry {number} is filed under model {model}, its facts say {model_of(entry.facts)}"
    return None
