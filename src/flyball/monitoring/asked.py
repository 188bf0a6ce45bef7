"""Judgements that somebody asked for: who asked for which model, and whether the loop has turned since. SQL only."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from flyball.core.errors import KeyInUse
from flyball.core.ids import keyed_id
from flyball.core.values import Actor
from flyball.governance.consumers import find_consumer, move_cursor, next_events
from flyball.governance.events import list_events
from flyball.governance.journal import Change, record

ASKED = "monitoring.asked"
CONSUMER = "monitoring"


class Waiting(msgspec.Struct, frozen=True):
    """What was asked and not answered yet: the models, and the number of the newest event (0 without one)."""

    models: frozenset[str]
    number: int


def ask(conn: Connection, model: str, *, actor: Actor, now: datetime, key: str | None = None) -> int:
    """Ask for every closed window of a model to be judged; the number to wait for with `is_answered`.

    key: what was asked for under it before is not asked for again. Raises KeyInUse if that was another model.
    """
    subject = f"model:{model}" if key is None else f"check:{keyed_id('chk', key)}"
    if key is not None and (known := list_events(conn, kinds=[ASKED], subject=subject, limit=1)):
        first = known[0]
        if first.facts["model"] != model:
            raise KeyInUse(
                f"the key {key!r} asked for the windows of {first.facts['model']}, not of {model}; choose another key",
                key=key,
                model=first.facts["model"],
            )
        return first.number
    facts = {"model": model} if key is None else {"model": model, "key": key}
    change = Change(actor=actor, action=ASKED, subject=subject, why="", facts=facts, event=ASKED)
    return record(conn, change, now).number


def list_waiting_asks(conn: Connection) -> Waiting:
    """What was asked for and not answered yet."""
    found = next_events(conn, CONSUMER, (ASKED,), limit=1000)
    models = frozenset(str(event.facts["model"]) for event in found)
    return Waiting(models, found[-1].number if found else 0)


def note_answered(conn: Connection, waiting: Waiting, now: datetime) -> None:
    """Note that a turn has judged what was waiting."""
    move_cursor(conn, CONSUMER, waiting.number, now)


def is_answered(conn: Connection, number: int) -> bool:
    """Whether what was asked under a number has been judged; True for 0, which nobody asks under."""
    found = find_consumer(conn, CONSUMER)
    return number <= (0 if found is None else found.cursor)
