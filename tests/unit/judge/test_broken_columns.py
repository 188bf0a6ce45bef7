"""Wrong units, missing values, defaults and new categories are facts; seasons are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.judge.drift.facts import BrokenColumn, find_broken
from flyball.judge.drift.profile import Summary, bucket_range, bucket_value, fit_reference, summarise

RNG = np.random.default_rng(1)


def weeks(count: int, *, start: int = 0) -> list[dict[str, object]]:
    """Weeks of a year: a temperature with a season, an hour, a month, a kind."""
    found = []
    for week in range(start, start + count):
        season = 12 - 14 * np.cos(2 * np.pi * week / 52)
        found.append(
            {
                "temp": season + RNG.normal(size=168) * 4,
                "hr": np.arange(168) % 24,
                "mnth": np.full(168, week // 4.34 % 12 + 1),
                "share": RNG.beta(5, 3, size=168),
                "kind": RNG.choice(["a", "b"], size=168).tolist(),
            }
        )
    return found


KINDS = {"temp": "numeric", "hr": "numeric", "mnth": "numeric", "share": "numeric", "kind": "category"}
TRAINING = weeks(26)
REFERENCE = fit_reference(
    {name: np.concatenate([np.asarray(week[name]) for week in TRAINING]).tolist() for name in KINDS}, KINDS
)


def healthy_windows(count: int) -> list[Summary]:
    return [REFERENCE.summary, *(summarise(REFERENCE, week) for week in weeks(count, start=26))]


HEALTHY = healthy_windows(8)
NOW = weeks(1, start=34)[0]


def find(**changed: object) -> list[BrokenColumn]:
    return find_broken(REFERENCE.features, HEALTHY, summarise(REFERENCE, NOW | changed))


def test_a_year_of_seasons_breaks_nothing_although_it_leaves_the_training_range():
    healthy = [REFERENCE.summary]
    for week in weeks(52, start=26):
        current = summarise(REFERENCE, week)
        assert find_broken(REFERENCE.features, healthy, current) == []
        healthy.append(current)
    assert healthy[20].features["mnth"].above == 168


@pytest.mark.parametrize(
    ("feature", "change", "words"),
    [
        ("temp", lambda v: v * 1.8 + 32, "Fahrenheit"),
        ("temp", lambda v: v + 273.15, "Kelvin"),
        ("temp", lambda v: v * 10, "10 times too large"),
        ("share", lambda v: v * 100, "100 times too large"),
        ("hr", lambda v: v * 60, "seconds in place of minutes"),
    ],
)
def test_a_wrong_unit_is_named(feature: str, change: Callable[[np.ndarray], np.ndarray], words: str):
    (broken,) = find(**{feature: change(np.asarray(NOW[feature], dtype=float))})
    assert (broken.feature, broken.kind) == (feature, "unit")
    assert words in broken.sentence


def test_an_unknown_scale_is_called_one():
    (broken,) = find(temp=np.asarray(NOW["temp"]) * 37 - 500)
    assert broken.kind == "unit"
    assert "another unit or scale" in broken.sentence


def test_values_far_out_that_are_no_scale_are_called_out_of_range():
    (broken,) = find(temp=np.where(np.arange(168) % 5 == 0, 9999.0, np.asarray(NOW["temp"])))
    assert broken.kind == "range"
    assert broken.share == pytest.approx(0.2, abs=0.01)


def test_a_handful_of_odd_values_is_no_broken_column():
    odd = np.asarray(NOW["temp"]).copy()
    odd[:3] = 9999.0
    assert find(temp=odd) == []


def test_missing_values_a_default_and_a_new_category_are_each_named():
    assert [b.kind for b in find(temp=[None] * 168)] == ["missing"]
    assert [b.kind for b in find(temp=[12.0] * 168)] == ["constant"]
    assert [b.kind for b in find(kind=["zz"] * 60 + ["a"] * 108)] == ["category"]


def test_a_constant_calendar_column_is_no_default():
    assert find(mnth=np.full(168, 9)) == []


def test_the_most_affected_column_comes_first():
    found = find(temp=[None] * 168, share=np.where(np.arange(168) < 50, 80.0, np.asarray(NOW["share"])))
    assert [broken.feature for broken in found] == ["temp", "share"]


def narrow(before: list[float], now: list[float]) -> list[BrokenColumn]:
    """What is found in a column of few values: so many rows of each before, and now."""
    reference = fit_reference({"v": before}, {"v": "numeric"})
    return find_broken(reference.features, [reference.summary], summarise(reference, {"v": now}))


def test_a_small_count_may_go_one_further_and_a_stray_value_moves_no_other_one():
    assert narrow([1, 2, 3] * 300, [0, 1, 2, 3, 4] * 30) == []
    assert narrow([1, 2, 3] * 300, [0, 1, 2, 3, 4] * 30 + [5]) == []
    assert narrow([-1, -2, -3] * 300, [0, -1, -2, -3, -4] * 30 + [-5]) == []
    assert narrow([0, 1] * 450, [0, 1, 2] * 50) == []


def test_a_share_in_halves_is_no_small_count():
    assert [broken.high for broken in narrow([0, 0.5, 1] * 300, [0, 1, 2] * 50)] == [1.0]


@pytest.mark.parametrize("size", [2.0**41, -(2.0**41), 0.0])
def test_whole_numbers_of_any_size_are_looked_at(size: float):
    assert narrow([size, size + 1] * 450, [size, size + 1, size + 2] * 50) == []
    assert [broken.share for broken in narrow([size, size + 1] * 450, [9 * (size + 1)] * 50)] == [1.0]


def test_a_small_count_in_another_scale_is_broken():
    assert [broken.share for broken in narrow([1, 2, 3] * 300, [10, 20, 30] * 50)] == [1.0]
    assert [broken.share for broken in narrow([0, 1] * 450, [0, 10] * 75)] == [0.5]


def test_a_short_past_says_little_about_where_values_end():
    leaving = [1, 2, 3, 4] * 10 + [9] * 5
    assert narrow([1, 2, 3, 4] * 5, leaving) == []
    assert [broken.share for broken in narrow([1, 2, 3, 4] * 500, leaving)] == [pytest.approx(5 / 45)]


@given(st.floats(-1e15, 1e15).filter(lambda value: value != 0.0))
def test_a_value_lies_in_the_range_of_its_bucket_and_so_does_the_middle(value: float):
    reference = fit_reference({"v": [value]}, {"v": "numeric"})
    ((bucket, rows),) = reference.summary.features["v"].magnitudes.items()
    least, most = bucket_range(bucket)
    near = 1e-12 * abs(value)  # of the logarithm's rounding
    assert least - near <= value <= most + near
    assert rows == 1
    assert least <= bucket_value(bucket) <= most


def test_without_healthy_windows_nothing_is_claimed():
    assert find_broken(REFERENCE.features, [], summarise(REFERENCE, NOW)) == []
