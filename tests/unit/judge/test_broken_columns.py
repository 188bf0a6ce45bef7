"""Wrong units, missing values, defaults and new categories are facts; seasons are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flyball.judge.drift.facts import BrokenColumn, find_broken
from flyball.judge.drift.profile import Summary, fit_reference, summarise

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


def test_without_healthy_windows_nothing_is_claimed():
    assert find_broken(REFERENCE.features, [], summarise(REFERENCE, NOW)) == []
