"""A request with a key changes things once, on every database, however often it is sent and wherever it broke off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flyball.backends.db.database import Database
from flyball.core.clock import FixedClock
from flyball.core.errors import BadInput, KeyInUse
from flyball.core.values import Actor
from flyball.governance.job_keys import KeptJob, begin_job, end_job, find_job
from flyball.governance.journal import Change, list_entries, record
from flyball.governance.request_keys import once

ANN = Actor("ann")
CLOCK = FixedClock(datetime(2026, 11, 21, 12, tzinfo=UTC))


def change(database: Database, what: str = "note") -> dict[str, object]:
    with database.write() as conn:
        entry = record(conn, Change(actor=ANN, action="thing.changed", subject=f"thing:{what}"), CLOCK.now())
    return {"entry": entry.number}


def count_entries(database: Database) -> int:
    with database.read() as conn:
        return len(list_entries(conn))


def test_a_repeated_request_gets_the_first_answer_and_changes_nothing(database: Database):
    first = once(database, CLOCK, "ann:k1", "sha256:a", lambda: change(database))
    second = once(database, CLOCK, "ann:k1", "sha256:a", lambda: change(database))
    assert (first.answer, first.repeated, second.answer, second.repeated) == (
        {"entry": 1},
        False,
        {"entry": 1},
        True,
    )
    assert count_entries(database) == 1


def test_a_key_that_came_with_another_request_is_refused(database: Database):
    once(database, CLOCK, "ann:k2", "sha256:a", lambda: change(database))
    with pytest.raises(KeyInUse, match="another request"):
        once(database, CLOCK, "ann:k2", "sha256:b", lambda: change(database))
    assert count_entries(database) == 1


def test_a_request_that_died_after_its_change_is_not_carried_out_again(database: Database):
    def die() -> dict[str, object]:
        change(database)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(database, CLOCK, "ann:k3", "sha256:a", die)
    with pytest.raises(KeyInUse, match="audit entry 1"):
        once(database, CLOCK, "ann:k3", "sha256:a", lambda: change(database))
    assert count_entries(database) == 1


def test_a_request_that_failed_may_be_tried_again(database: Database):
    def fail() -> dict[str, object]:
        with database.write() as conn:
            record(conn, Change(actor=ANN, action="thing.changed", subject="thing:x"), CLOCK.now())
            raise BadInput("no")

    with pytest.raises(BadInput):
        once(database, CLOCK, "ann:k4", "sha256:a", fail)
    again = once(database, CLOCK, "ann:k4", "sha256:a", lambda: change(database))
    assert not again.repeated
    assert count_entries(database) == 1


def test_of_two_requests_with_one_key_at_the_same_time_one_changes_something(database: Database):
    def overtaken() -> dict[str, object]:
        # The same request arrives a second time while the first is at work, in another context.
        import threading

        other = threading.Thread(
            target=lambda: once(database, CLOCK, "ann:k5", "sha256:a", lambda: change(database))
        )
        other.start()
        other.join()
        return change(database)

    with pytest.raises(KeyInUse, match="being carried out"):
        once(database, CLOCK, "ann:k5", "sha256:a", overtaken)
    assert count_entries(database) == 1


def test_of_two_questions_with_one_key_at_the_same_time_both_get_the_first_answer(database: Database):
    def ask_meanwhile() -> dict[str, object]:
        once(database, CLOCK, "ann:k7", "sha256:a", lambda: {"windows": 8})
        return {"windows": 9}

    second = once(database, CLOCK, "ann:k7", "sha256:a", ask_meanwhile)
    assert (second.answer, second.repeated) == ({"windows": 8}, True)
    with pytest.raises(KeyInUse, match="another request"):
        once(database, CLOCK, "ann:k7", "sha256:b", ask_meanwhile)


def test_an_answer_without_a_change_is_kept_too_and_forgotten_after_a_week(database: Database):
    clock = FixedClock(CLOCK.now())
    once(database, clock, "ann:k6", "sha256:a", lambda: {"state": "running"})
    assert once(database, clock, "ann:k6", "sha256:a", lambda: {"state": "other"}).answer == {
        "state": "running"
    }
    clock.advance(timedelta(days=8))
    once(database, clock, "ann:k7", "sha256:a", lambda: change(database))
    assert once(database, clock, "ann:k6", "sha256:b", lambda: {"state": "new"}).answer == {"state": "new"}


def test_a_job_holds_its_key_for_ever_and_says_what_differs(database: Database):
    asked = {"model": "churn", "input": "sha256:a"}
    with database.write() as conn:
        assert find_job(conn, "score:k") is None
        begin_job(conn, "score:k", asked, CLOCK.now())
        begin_job(conn, "score:k", asked, CLOCK.now())  # one that was killed is begun again
    later = FixedClock(CLOCK.now() + timedelta(days=400))
    once(database, later, "ann:other", "sha256:a", lambda: change(database))  # forgets what is old
    with database.write() as conn:
        end_job(conn, "score:k", asked, {"rows": 3})
        with pytest.raises(
            KeyInUse, match="'score:k' stands for something else: input was sha256:a, is sha256:b"
        ):
            begin_job(conn, "score:k", {**asked, "input": "sha256:b"}, CLOCK.now())
    with database.read() as conn:
        assert find_job(conn, "score:k") == KeptJob(asked, {"rows": 3})
