from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.clock import (
    AHEAD_LIMIT,
    FixedClock,
    ModelClock,
    SystemClock,
    as_utc,
    isoformat,
    parse_moment,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# hypothesis wants bounds without a zone
MOMENTS = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001
    max_value=datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
SPANS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400))


def test_the_wall_clock_is_aware_and_in_utc():
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_a_fixed_clock_stands_still_until_it_is_moved():
    clock = FixedClock(NOW)
    clock.advance(timedelta(minutes=3))

    assert clock.now() == NOW + timedelta(minutes=3) == clock.now()


@given(MOMENTS, MOMENTS, SPANS)
def test_model_time_is_the_event_time_plus_the_wall_time_since_and_never_far_ahead_of_the_wall(
    event: datetime, seen: datetime, passed: timedelta
):
    now = ModelClock(highest_event_at=event, seen_at=seen).now(seen + passed)

    assert now == min(event + passed, seen + passed + AHEAD_LIMIT)


@given(MOMENTS, st.lists(st.tuples(MOMENTS, SPANS), max_size=20))
def test_model_time_never_goes_back_while_the_wall_clock_goes_on(
    start: datetime, events: list[tuple[datetime, timedelta]]
):
    wall = start
    clock = ModelClock(highest_event_at=min(start, wall), seen_at=wall)
    shown = clock.now(wall)
    for event, passed in events:
        wall += passed
        assert clock.now(wall) >= shown
        highest = clock.highest_event_at
        clock = clock.seen(event, wall)
        assert clock.highest_event_at >= highest
        shown = max(shown, highest)


def test_live_traffic_makes_model_time_the_wall_time():
    clock = ModelClock(highest_event_at=NOW, seen_at=NOW).seen(
        NOW + timedelta(seconds=5), NOW + timedelta(seconds=5)
    )

    assert clock.now(NOW + timedelta(hours=3)) == NOW + timedelta(hours=3)


def test_replayed_history_makes_months_pass_in_minutes():
    clock = ModelClock(highest_event_at=datetime(2011, 1, 1, tzinfo=UTC), seen_at=NOW)
    clock = clock.seen(datetime(2011, 6, 1, tzinfo=UTC), NOW + timedelta(minutes=1))

    assert clock.now(NOW + timedelta(minutes=2)) == datetime(2011, 6, 1, 0, 1, tzinfo=UTC)


def test_an_event_from_the_future_moves_the_clock_by_five_minutes_at_most():
    clock = ModelClock(highest_event_at=NOW, seen_at=NOW).seen(NOW + timedelta(days=900), NOW)

    assert clock.now(NOW) == NOW + AHEAD_LIMIT


def test_an_earlier_event_leaves_the_clock_alone():
    clock = ModelClock(highest_event_at=NOW, seen_at=NOW)

    assert clock.seen(NOW - timedelta(days=1), NOW + timedelta(days=1)) is clock


def test_a_wall_clock_turned_back_does_not_turn_model_time_below_what_was_seen():
    clock = ModelClock(highest_event_at=NOW - timedelta(days=5), seen_at=NOW)

    assert clock.now(NOW - timedelta(hours=1)) == NOW - timedelta(days=5)


def test_moments_are_read_and_written_in_one_form():
    assert isoformat(parse_moment("2024-05-31T10:00:00+02:00")) == "2024-05-31T08:00:00Z"
    assert isoformat(parse_moment("2024-05-31")) == "2024-05-31T00:00:00Z"
    assert as_utc(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5)))) == datetime(
        2024, 1, 1, 5, tzinfo=UTC
    )
    with pytest.raises(ValueError, match=r"isoformat|Invalid"):
        parse_moment("yesterday")
