from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.durations import find_confirmation, format_duration, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("50ms", timedelta(milliseconds=50)),
        ("10 m", timedelta(minutes=10)),
        ("1.5h", timedelta(minutes=90)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, duration: timedelta):
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "d", "10", "-1d", "1 year", "1e3s", "10m10s", "40000d"])
def test_what_is_no_duration_is_refused_by_name(text: str):
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=10**9))
def test_a_written_duration_is_read_back_as_the_same(milliseconds: int):
    duration = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(duration)) == duration


def test_a_rate_is_a_count_and_a_period():
    assert parse_rate("1 per 30d") == (1.0, timedelta(days=30))
    assert parse_rate("0.5 per 12h") == (0.5, timedelta(hours=12))


@pytest.mark.parametrize("text", ["1", "per 30d", "one per day", "0 per 30d", "1 per 0d"])
def test_what_is_no_rate_is_refused(text: str):
    with pytest.raises(ValueError, match=r"rate|above zero|duration"):
        parse_rate(text)


def test_a_confirmation_rule_is_read_as_written():
    assert find_confirmation(" 3 of 4 windows") == (3, 4)
    assert [find_confirmation(text) for text in ("4 of 3 windows", "0 of 3 windows", "twice")] == [None] * 3
