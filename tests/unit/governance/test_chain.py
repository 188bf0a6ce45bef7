"""The audit chain as a pure function: whatever is done to it is found, and nothing else is."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.core.digests import canonical_json
from flyball.core.errors import BadInput
from flyball.core.values import Actor
from flyball.governance.events import Event
from flyball.governance.journal import GENESIS, Entry, Head, digest_of
from flyball.governance.verify import check_chain, parse_head

GOLDEN = Path(__file__).parent / "golden"
START = datetime(2026, 1, 1, tzinfo=UTC)


def chain(length: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, length + 1):
        entry = Entry(
            format=1,
            number=number,
            id=f"aud_{number:032x}",
            at=START + timedelta(seconds=number),
            actor=Actor("ann", "person", "usr_1"),
            action="version.noted",
            subject=f"version:bike@{number}",
            why="a reason",
            facts={"model": "bike", "number": number},
            previous=entries[-1].digest if entries else GENESIS,
            digest="",
        )
        entries.append(msgspec.structs.replace(entry, digest=digest_of(entry)))
    return entries


WHOLE = chain(30)
END = Head(30, WHOLE[-1].digest)


def check(entries: list[Entry]) -> Any:
    stored_model = "bike"
    return check_chain(((entry, stored_model) for entry in entries), end=END, anchor=END)


def change_character(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


def edit(rng: random.Random, entries: list[Entry]) -> None:
    at = rng.randrange(len(entries))
    field = rng.choice(["id", "at", "actor", "action", "subject", "why", "facts", "previous", "digest"])
    value = getattr(entries[at], field)
    if field == "at":
        value += timedelta(microseconds=rng.choice([-1, 1]))
    elif field == "actor":
        value = msgspec.structs.replace(value, **{rng.choice(["name", "id"]): "mallory"})
    elif field == "facts":
        value = {**value, "number": value["number"] + rng.choice([-1, 1, 0.5])}
    else:
        value = change_character(rng, value)
    entries[at] = msgspec.structs.replace(entries[at], **{field: value})


def delete(rng: random.Random, entries: list[Entry]) -> None:
    del entries[rng.randrange(len(entries))]


def swap(rng: random.Random, entries: list[Entry]) -> None:
    one, other = rng.sample(range(len(entries)), 2)
    first, second = entries[one], entries[other]
    # The rows change places; their numbers, which say where they are read, stay.
    entries[one] = msgspec.structs.replace(second, number=first.number)
    entries[other] = msgspec.structs.replace(first, number=second.number)


def truncate(rng: random.Random, entries: list[Entry]) -> None:
    del entries[rng.randrange(len(entries)) :]


def test_a_whole_chain_holds() -> None:
    found = check(WHOLE)
    assert (found.ok, found.entries, found.head) == (True, 30, END)


def test_a_thousand_random_edits_deletions_swaps_and_truncations_are_all_found() -> None:
    rng = random.Random(20260401)
    missed = []
    for number in range(1000):
        entries = list(WHOLE)
        tamper = rng.choice([edit, delete, swap, truncate])
        tamper(rng, entries)
        if check(entries).ok:
            missed.append((number, tamper.__name__))
    assert missed == []


def test_the_first_number_that_does_not_hold_is_named() -> None:
    entries = list(WHOLE)
    entries[11] = msgspec.structs.replace(entries[11], why="another reason")
    found = check(entries)
    assert (found.bad_number, found.entries) == (12, 11)
    assert found.problem == "entry 12 was changed"


def test_a_head_is_read_as_it_is_printed() -> None:
    assert parse_head(f" {END}\n") == END
    for text in ("", "12", "12:", "x:" + END.digest, "-1:" + END.digest, "12:sha256:zz"):
        with pytest.raises(BadInput, match="head"):
            parse_head(text)


def test_the_audit_entry_of_format_1_is_read_and_digested_as_ever() -> None:
    text = (GOLDEN / "audit_entry_1.json").read_bytes().strip()
    entry = msgspec.json.decode(text, type=Entry)
    assert entry.format == 1
    assert digest_of(entry) == entry.digest
    assert msgspec.json.decode(canonical_json(entry)) == msgspec.json.decode(text)


def test_the_event_of_format_1_is_read_as_ever() -> None:
    text = (GOLDEN / "event_1.json").read_bytes().strip()
    event = msgspec.json.decode(text, type=Event)
    assert (event.format, event.kind, event.actor.kind) == (1, "version.created", "automation")
    assert msgspec.json.decode(canonical_json(event)) == msgspec.json.decode(text)
