"""E-processes and confidence sequences of bounded means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput
from flyball.judge.sequential.betting import (
    BET_SHARES,
    BET_WEIGHTS,
    counted_process,
    mean_interval,
    mean_process,
)

shares = st.floats(0.05, 0.95)
values = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)


def test_wealth_of_one_value_is_the_mixture_of_its_bets():
    process = mean_process([0.0], 0.5, low=0.0, high=1.0, side="less")
    by_hand = (BET_WEIGHTS * (1 + BET_SHARES / 0.5 * 0.5)).sum()
    assert process[0] == pytest.approx(math.log(by_hand))


def test_values_at_the_null_neither_win_nor_lose():
    process = mean_process([0.4] * 50, 0.4, low=0.0, high=1.0, side="less")
    assert process == pytest.approx(np.zeros(50), abs=1e-12)


def test_seven_days_without_difference_are_not_enough_and_three_weeks_are():
    process = mean_process([0.0] * 21, 4.0, low=-16.0, high=16.0, side="less")
    assert process[6] < math.log(20)
    assert process[20] > math.log(20)


@given(values, shares)
def test_wealth_never_depends_on_looking_in_between(sample: list[float], null: float):
    whole = mean_process(sample, null, low=0.0, high=1.0, side="greater")
    part = mean_process(sample[: len(sample) // 2 + 1], null, low=0.0, high=1.0, side="greater")
    assert whole[: part.size] == pytest.approx(part)


@given(shares)
def test_the_expected_wealth_of_a_fair_bet_is_one(null: float):
    # A coin with mean `null`: the two outcomes weighted by their probability.
    win = math.exp(mean_process([1.0], null, low=0.0, high=1.0, side="less")[0])
    lose = math.exp(mean_process([0.0], null, low=0.0, high=1.0, side="less")[0])
    assert null * win + (1 - null) * lose == pytest.approx(1.0)


@given(values, shares)
def test_the_two_sides_mirror_each_other(sample: list[float], null: float):
    less = mean_process(sample, null, low=0.0, high=1.0, side="less")
    greater = mean_process([1 - v for v in sample], 1 - null, low=0.0, high=1.0, side="greater")
    assert less == pytest.approx(greater, abs=1e-6)


@given(st.integers(0, 60), st.integers(0, 60), shares)
def test_counts_give_the_wealth_of_the_values_in_any_order(ones: int, zeros: int, null: float):
    sample = [1.0] * ones + [0.0] * zeros
    if sample:
        last = mean_process(sample, null, low=0.0, high=1.0, side="less")[-1]
        assert counted_process(ones, zeros, null, side="less") == pytest.approx(last, abs=1e-9)


@given(values)
def test_the_interval_holds_the_sample_mean_and_shrinks_only(sample: list[float]):
    first = mean_interval(sample[: len(sample) // 2], low=0.0, high=1.0)
    both = mean_interval(sample, low=0.0, high=1.0)
    assert 0.0 <= both.low <= both.high <= 1.0
    assert first.low <= both.low or both.low == both.high
    assert both.high <= first.high or both.low == both.high


def test_no_values_leave_the_whole_range_open():
    interval = mean_interval([], low=-2.0, high=3.0)
    assert (interval.low, interval.high) == (-2.0, 3.0)


def test_more_confidence_gives_a_wider_interval():
    sample = np.random.default_rng(1).beta(2, 5, size=400)
    narrow = mean_interval(sample, low=0.0, high=1.0, confidence=0.8)
    wide = mean_interval(sample, low=0.0, high=1.0, confidence=0.99)
    assert wide.low < narrow.low < sample.mean() < narrow.high < wide.high


@pytest.mark.parametrize("null", [0.0, 1.0, 2.0])
def test_a_null_outside_the_range_is_refused(null: float):
    with pytest.raises(BadInput):
        mean_process([0.5], null, low=0.0, high=1.0, side="less")


def test_nan_is_refused_instead_of_counted_as_something():
    with pytest.raises(BadInput, match="NaN"):
        mean_process([0.5, float("nan")], 0.4, low=0.0, high=1.0, side="less")
