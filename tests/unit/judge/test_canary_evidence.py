"""Two arms by proportion, latency quantiles, and the share of traffic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput
from flyball.judge.sequential.proportions import ArmBlock, difference_evidence
from flyball.judge.sequential.quantiles import (
    RATIO,
    LatencyCounts,
    count_latencies,
    latency_bin,
    quantile_interval,
)
from flyball.judge.sequential.ratio import ShareBlock, sample_ratio


def block(champion: tuple[int, int], candidate: tuple[int, int]) -> ArmBlock:
    return ArmBlock(
        champion_units=champion[0],
        champion_bad=champion[1],
        candidate_units=candidate[0],
        candidate_bad=candidate[1],
    )


def test_no_blocks_say_nothing():
    shown = difference_evidence([], 0.01, seed=1)
    assert (shown.estimate, shown.log_not_worse, shown.log_harm, shown.pairs) == (None, 0.0, 0.0, 0)


def test_an_arm_without_units_is_no_evidence():
    assert difference_evidence([block((100, 5), (0, 0))], 0.01, seed=1).estimate is None


def test_many_equal_units_show_not_worse_and_no_harm():
    shown = difference_evidence([block((4000, 8), (1000, 2))] * 5, 0.005, seed=1)
    assert shown.log_not_worse > math.log(20)
    assert shown.log_harm < 0


def test_a_candidate_that_always_fails_is_shown_soon():
    shown = difference_evidence([block((190, 1), (10, 10))], 0.005, seed=1)
    assert shown.log_harm > math.log(20)
    assert shown.estimate == pytest.approx(1 - 1 / 190)


def test_the_estimate_compares_within_blocks_not_over_changing_weights():
    # Night: few errors, candidate gets little. Day: many errors, candidate gets much. Equal in both.
    night, day = block((950, 19), (50, 1)), block((500, 100), (500, 100))
    assert difference_evidence([night, day], 0.01, seed=1).estimate == pytest.approx(0.0)


def test_the_same_counts_give_the_same_answer():
    blocks = [block((90, 4), (30, 3)), block((70, 1), (80, 2))]
    assert difference_evidence(blocks, 0.02, seed=3) == difference_evidence(blocks, 0.02, seed=3)


def test_counts_that_contradict_each_other_are_refused():
    with pytest.raises(BadInput):
        difference_evidence([block((5, 6), (5, 0))], 0.01, seed=1)


@given(st.floats(0.01, 1e6))
def test_a_latency_lies_in_its_bin(milliseconds: float):
    key = latency_bin(milliseconds)
    assert RATIO ** (key - 1) <= milliseconds * 1.000001
    assert milliseconds <= RATIO**key * 1.000001


def test_a_p99_of_few_answers_is_open_upwards():
    interval = quantile_interval(count_latencies([3.0] * 200), 0.99)
    assert interval.high == math.inf


def test_a_median_is_bracketed():
    sample = np.random.default_rng(3).lognormal(1.0, 0.5, size=3000)
    interval = quantile_interval(count_latencies(sample), 0.5)
    assert interval.low < math.e < interval.high
    assert interval.high / interval.low < 1.25


def test_no_latency_bounds_nothing():
    assert quantile_interval(LatencyCounts(), 0.9).high == math.inf


def test_a_share_as_assigned_gives_little_and_a_wrong_one_much():
    as_assigned = sample_ratio([ShareBlock(candidate_units=50, champion_units=950, share=0.05)])
    wrong = sample_ratio([ShareBlock(candidate_units=150, champion_units=850, share=0.05)])
    assert as_assigned < 0 < math.log(1000) < wrong


def test_the_mixture_over_shares_is_a_fair_bet():
    # One entity: expected e-value under the assigned share is 1.
    first = sample_ratio([ShareBlock(candidate_units=1, champion_units=0, share=0.2)])
    second = sample_ratio([ShareBlock(candidate_units=0, champion_units=1, share=0.2)])
    assert 0.2 * math.exp(first) + 0.8 * math.exp(second) == pytest.approx(1.0)
