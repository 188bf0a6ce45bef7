"""One suite for the journal, its events and their consumers on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, update

from flyball.backends.db.database import Database
from flyball.core.clock import FixedClock
from flyball.core.errors import BlobsUnavailable
from flyball.core.values import Actor
from flyball.governance.actors import SYSTEM
from flyball.governance.consumers import (
    ATTEMPTS,
    PARKED,
    deliver,
    find_consumer,
    move_cursor,
    next_events,
)
from flyball.governance.events import Event, events, list_events
from flyball.governance.journal import (
    GENESIS,
    Change,
    Head,
    audit_chain,
    audit_entries,
    export_entries,
    head,
    list_entries,
    record,
)
from flyball.governance.verify import parse_head, verify

NOW = datetime(2026, 4, 1, 8, 30, 0, 1, tzinfo=UTC)
ANN = Actor("Ann \x00 Ünal", "person", "usr_1")


def note(database: Database, number: int = 0, model: str = "bike", event: str | None = None) -> None:
    change = Change(
        actor=ANN,
        action="version.noted",
        subject=f"version:{model}@{number}",
        why="because of ' \x00 \U0001f600",
        facts={"model": model, "number": number, "share": 1e22, "at": NOW, "deep": {"list": [1, None, True]}},
        event=event,
    )
    with database.write() as conn:
        record(conn, change, NOW + timedelta(seconds=number))


def fill(database: Database, count: int = 8) -> Head:
    for number in range(count):
        note(database, number, event="version.noted" if number % 2 else None)
    with database.read() as conn:
        return head(conn)


def check(database: Database, anchor: Head | None = None) -> Any:
    with database.read() as conn:
        return verify(conn, anchor)


def test_an_empty_trail_is_whole(database: Database) -> None:
    found = check(database)
    assert (found.ok, found.entries, found.head) == (True, 0, Head(0, GENESIS))


def test_entries_come_back_as_they_were_recorded_and_form_a_chain(database: Database) -> None:
    end = fill(database)
    with database.read() as conn:
        entries = list_entries(conn)
    assert [entry.number for entry in entries] == list(range(1, 9))
    assert [entry.previous for entry in entries] == [GENESIS, *(entry.digest for entry in entries[:-1])]
    assert entries[-1].digest == end.digest
    third = entries[2]
    assert third.actor == Actor("Ann \ufffd Ünal", "person", "usr_1")
    assert third.at == NOW + timedelta(seconds=2)
    assert third.facts == {
        "model": "bike",
        "number": 2,
        "share": 1e22,
        "at": "2026-04-01T08:30:00.000001Z",
        "deep": {"list": [1, None, True]},
    }
    assert check(database).ok
    assert check(database, parse_head(str(end))).ok


def test_entries_are_found_by_model_subject_action_and_actor(database: Database) -> None:
    for number, model in enumerate(["bike", "credit", "bike"]):
        note(database, number, model)
    with database.read() as conn:
        assert [e.number for e in list_entries(conn, model="bike")] == [1, 3]
        assert [e.number for e in list_entries(conn, subject="version:credit@1")] == [2]
        assert [e.number for e in list_entries(conn, action="version.noted", limit=2)] == [1, 2]
        assert [e.number for e in list_entries(conn, actor="usr_1", newest_first=True, before=3)] == [2, 1]
        assert list_entries(conn, actor="usr_2") == []


def test_a_change_that_fails_leaves_neither_entry_nor_event_nor_gap(database: Database) -> None:
    note(database)
    with pytest.raises(KeyError), database.write() as conn:
        record(conn, Change(actor=SYSTEM, action="a.b", subject="x:y", event="a.b"), NOW)
        raise KeyError("stop")
    note(database, 1)
    with database.read() as conn:
        assert [entry.number for entry in list_entries(conn)] == [1, 2]
        assert list_events(conn) == []
    assert check(database).ok


def test_eight_threads_write_one_unbroken_chain(database: Database) -> None:
    threads = [
        threading.Thread(target=lambda: [note(database, n, event="version.noted") for n in range(5)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = check(database)
    assert (found.ok, found.entries) == (True, 40)
    with database.read() as conn:
        assert [event.number for event in list_events(conn)] == list(range(1, 41))


def change_reason(conn: Connection) -> None:
    conn.execute(update(audit_entries).where(audit_entries.c.number == 4).values(why="nothing to see"))


def change_facts(conn: Connection) -> None:
    conn.execute(update(audit_entries).where(audit_entries.c.number == 4).values(facts={"model": "bike"}))


def hide_from_model(conn: Connection) -> None:
    conn.execute(update(audit_entries).where(audit_entries.c.number == 4).values(model="other"))


def shift_time(conn: Connection) -> None:
    later = NOW + timedelta(days=1)
    conn.execute(update(audit_entries).where(audit_entries.c.number == 4).values(at=later))


def delete_one(conn: Connection) -> None:
    conn.execute(delete(audit_entries).where(audit_entries.c.number == 4))


def delete_and_close_the_gap(conn: Connection) -> None:
    delete_one(conn)
    for number in range(5, 9):
        row = update(audit_entries).where(audit_entries.c.number == number)
        conn.execute(row.values(number=number - 1))


def swap(conn: Connection) -> None:
    for old, new in ((4, 100), (5, 4), (100, 5)):
        conn.execute(update(audit_entries).where(audit_entries.c.number == old).values(number=new))


@pytest.mark.parametrize(
    "tamper",
    [
        change_reason,
        change_facts,
        hide_from_model,
        shift_time,
        delete_one,
        delete_and_close_the_gap,
        swap,
    ],
)
def test_a_changed_deleted_or_moved_entry_is_found_at_its_number(database: Database, tamper: Any) -> None:
    fill(database)
    with database.write() as conn:
        tamper(conn)
    found = check(database)
    assert not found.ok
    assert found.bad_number == 4
    assert found.entries == 3
    assert "4" in str(found.problem)


def test_entries_cut_off_at_the_end_are_missed(database: Database) -> None:
    fill(database)
    with database.write() as conn:
        conn.execute(delete(audit_entries).where(audit_entries.c.number > 6))
    found = check(database)
    assert (found.ok, found.bad_number) == (False, 7)


def test_entries_cut_off_together_with_the_counter_are_missed_given_a_head(database: Database) -> None:
    end = fill(database)
    with database.write() as conn:
        conn.execute(delete(audit_entries).where(audit_entries.c.number > 6))
        sixth = list_entries(conn, after=5, limit=1)[0]
        conn.execute(update(audit_chain).values(number=6, digest=sixth.digest))
    found = check(database)
    assert (found.ok, found.bad_number) == (False, 7)
    assert "event 8" in str(found.problem)
    with database.write() as conn:
        conn.execute(delete(events).where(events.c.number > 6))
    assert check(database).ok
    found = check(database, end)
    assert (found.ok, found.bad_number) == (False, 7)
    assert "missing" in str(found.problem)


def test_a_chain_rewritten_to_fit_is_found_given_a_head(database: Database) -> None:
    end = fill(database)
    with database.write() as conn:
        conn.execute(delete(audit_entries))
        conn.execute(delete(audit_chain))
        conn.execute(delete(events))
    for _ in range(10):
        note(database, 1)
    assert check(database).ok
    found = check(database, end)
    assert (found.ok, found.bad_number) == (False, 8)


def test_an_entry_added_behind_the_journals_back_is_found(database: Database) -> None:
    fill(database)
    with database.write() as conn:
        last = conn.execute(audit_entries.select().where(audit_entries.c.number == 8)).one()
        values = {**last._mapping, "number": 9, "id": "aud_x", "previous": last.digest}
        conn.execute(insert(audit_entries).values(values))
    found = check(database)
    assert (found.ok, found.bad_number) == (False, 9)


def test_an_exported_chain_can_be_verified_without_flyball(database: Database) -> None:
    end = fill(database)
    previous = GENESIS
    with database.read() as conn:
        lines = list(export_entries(conn))
    for line in lines:
        entry = json.loads(line)
        assert entry["previous"] == previous
        previous = entry["digest"]
        content = line.rstrip(b"\n").replace(f'"digest":"{previous}",'.encode(), b"")
        assert "sha256:" + hashlib.sha256(content).hexdigest() == previous
    assert (len(lines), previous) == (8, end.digest)


def test_events_share_the_number_of_their_entry_and_are_found_by_kind_model_and_id(
    database: Database,
) -> None:
    note(database, 0, "bike")
    note(database, 1, "bike", "version.created")
    note(database, 2, "credit", "signal.raised")
    with database.read() as conn:
        found = list_events(conn)
        assert [event.number for event in found] == [2, 3]
        assert list_events(conn, kinds=["signal.raised"]) == found[1:]
        assert list_events(conn, kinds=[]) == []
        assert list_events(conn, model="bike") == found[:1]
        assert list_events(conn, subject="version:credit@2") == found[1:]
        assert list_events(conn, newest_first=True, before=3) == found[:1]
    assert found[0].format == 1
    assert found[0].actor.id == "usr_1"


def test_a_consumer_gets_each_event_of_its_kinds_once_and_in_order(database: Database) -> None:
    fill(database)
    clock, got = FixedClock(NOW), []

    def handle(event: Event) -> None:
        got.append(event.number)

    assert deliver(database, "delivery", ["version.noted"], handle, clock, limit=3) == 3
    assert deliver(database, "delivery", ["version.noted"], handle, clock) == 1
    assert deliver(database, "delivery", ["version.noted"], handle, clock) == 0
    assert deliver(database, "other", ["signal.raised"], handle, clock) == 0
    assert got == [2, 4, 6, 8]
    with database.read() as conn:
        found = find_consumer(conn, "delivery")
        assert found is not None and found.cursor == 8
        assert find_consumer(conn, "other") is None


def test_an_event_that_fails_comes_again_and_is_parked_the_fifth_time(database: Database) -> None:
    fill(database)
    clock, tried = FixedClock(NOW), []

    def handle(event: Event) -> None:
        tried.append(event.number)
        if event.number == 4:
            raise ValueError("can't")

    rounds = [deliver(database, "delivery", ["version.noted"], handle, clock) for _ in range(ATTEMPTS)]
    assert rounds == [1, 0, 0, 0, 2]
    assert tried == [2, 4, 4, 4, 4, 4, 6, 8]
    with database.read() as conn:
        [parked] = list_events(conn, kinds=[PARKED])
        assert parked.facts["number"] == 4
        assert parked.facts["model"] == "bike"
        assert "can't" in parked.facts["reason"]
        assert parked.actor == SYSTEM
    assert check(database).ok


def test_a_store_that_does_not_answer_parks_nothing(database: Database) -> None:
    fill(database)

    def handle(event: Event) -> None:
        raise BlobsUnavailable("gone for a minute")

    for _ in range(ATTEMPTS + 2):
        assert deliver(database, "delivery", ["version.noted"], handle, FixedClock(NOW)) == 0
    with database.read() as conn:
        assert find_consumer(conn, "delivery") is None
        assert list_events(conn, kinds=[PARKED]) == []


def test_a_parked_event_that_can_not_be_handled_does_not_feed_itself(database: Database) -> None:
    note(database, 1, event=PARKED)

    def handle(event: Event) -> None:
        raise ValueError("no")

    for _ in range(3 * ATTEMPTS):
        deliver(database, "incidents", [PARKED], handle, FixedClock(NOW))
    with database.read() as conn:
        assert len(list_events(conn)) == 1


def test_a_cursor_never_moves_back(database: Database) -> None:
    fill(database)
    with database.write() as conn:
        move_cursor(conn, "delivery", 4, NOW)
        move_cursor(conn, "delivery", 2, NOW)
        assert [event.number for event in next_events(conn, "delivery", ["version.noted"])] == [6, 8]
