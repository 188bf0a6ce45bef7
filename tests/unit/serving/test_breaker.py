"""When a candidate is asked no more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flyball.serving.faults import Breaker, FaultKind, ModelFault

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def fail(breaker: Breaker, kind: FaultKind = "exception", times: int = 1) -> None:
    for _ in range(times):
        breaker.note_fault(ModelFault(kind, "as tested"), NOW)


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.note_success()


def test_three_faults_in_a_row_trip_it():
    breaker = Breaker()
    fail(breaker, times=2)
    assert not breaker.tripped
    fail(breaker)
    assert breaker.tripped


def test_a_success_between_faults_starts_the_count_again():
    breaker = Breaker()
    for _ in range(2):
        fail(breaker, times=2)
        succeed(breaker)
    assert not breaker.tripped


def test_two_hangs_in_a_row_are_enough():
    breaker = Breaker()
    fail(breaker, "hang", times=2)
    assert breaker.tripped


@pytest.mark.parametrize("kind", ["crash", "hang", "memory"])
def test_more_than_five_deaths_trip_it_however_much_it_answered_between(kind: FaultKind):
    breaker = Breaker()
    for _ in range(5):
        fail(breaker, kind)
        succeed(breaker, 1000)
    assert not breaker.tripped
    fail(breaker, kind)
    assert breaker.tripped


def test_rare_exceptions_are_left_to_the_guards_of_the_rollout():
    breaker = Breaker()
    for _ in range(50):
        fail(breaker)
        succeed(breaker, 20)
    assert not breaker.tripped


def test_exceptions_on_more_than_a_tenth_of_the_requests_trip_it():
    breaker = Breaker()
    for _ in range(6):
        fail(breaker)
        succeed(breaker, 5)
    assert breaker.tripped


def test_the_report_names_the_reason_and_counts_by_kind():
    breaker = Breaker()
    assert breaker.report() is None
    fail(breaker, "exception", 2)
    fail(breaker, "not_finite")
    report = breaker.report()
    assert report is not None
    assert (report.reason, report.count, report.tripped) == ("not_finite: as tested", 3, True)
    assert report.kinds == {"exception": 2, "not_finite": 1}


def test_what_comes_after_the_trip_does_not_hide_its_reason():
    breaker = Breaker()
    fail(breaker, "exception", 3)
    fail(breaker, "crash")
    report = breaker.report()
    assert report is not None
    assert report.reason.startswith("exception")
    assert report.count == 4
