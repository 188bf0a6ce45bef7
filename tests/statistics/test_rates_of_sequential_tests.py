"""Simulations: the sequential procedures keep their stated error rates at every look, and decide when they
should.

`most(n, rate)` is what a procedure at exactly its stated rate exceeds in one of a thousand simulations of n
runs: the Monte Carlo error that an observed rate is allowed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from flyball.judge.guards import GuardEvidence, GuardRule, judge_guard
from flyball.judge.sequential.betting import mean_interval, mean_process
from flyball.judge.sequential.proportions import ArmBlock, difference_evidence
from flyball.judge.sequential.quantiles import count_latencies, quantile_interval
from flyball.judge.sequential.ratio import ShareBlock, sample_ratio

ALPHA = 0.05


def most(runs: int, rate: float) -> int:
    return int(binom.ppf(0.999, runs, rate))


def draw(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """Values in [0, 1] with mean 0.3."""
    if kind == "coin":
        return (rng.uniform(size=size) < 0.3).astype(float)
    if kind == "beta":
        return rng.beta(3, 7, size=size)
    # A martingale whose spread depends on the past: large steps follow large values.
    values = np.empty(size)
    last = 0.3
    for i in range(size):
        width = 0.3 if last > 0.3 else 0.05
        last = values[i] = 0.3 + width * rng.choice([-1.0, 1.0])
    return values


@pytest.mark.parametrize("kind", ["coin", "beta", "dependent"])
@pytest.mark.parametrize("side", ["less", "greater"])
def test_a_true_null_is_rejected_at_any_of_300_looks_at_most_as_often_as_stated(kind: str, side: str):
    rng = np.random.default_rng(1)
    runs = 400
    false = sum(
        bool(
            mean_process(draw(kind, rng, 300), 0.3, low=0.0, high=1.0, side=side).max() >= math.log(1 / ALPHA)
        )
        for _ in range(runs)
    )
    assert false <= most(runs, ALPHA)


def test_a_false_null_is_found_in_reasonable_time():
    rng = np.random.default_rng(2)
    needed = []
    for _ in range(100):
        process = mean_process(
            (rng.uniform(size=2000) < 0.2).astype(float), 0.3, low=0.0, high=1.0, side="less"
        )
        crossed = np.flatnonzero(process >= math.log(1 / ALPHA))
        needed.append(crossed[0] + 1 if crossed.size else np.inf)
    # A fixed-size test at the same level needs about 140 values for a power of one half.
    assert np.median(needed) <= 260
    assert np.isfinite(needed).mean() >= 0.99


def test_the_confidence_sequence_covers_at_all_times_together():
    rng = np.random.default_rng(3)
    runs, missed = 150, 0
    for _ in range(runs):
        values = draw("beta", rng, 160)
        intervals = [mean_interval(values[:n], low=0.0, high=1.0, steps=100) for n in (5, 20, 60, 160)]
        missed += any(not interval.low <= 0.3 <= interval.high for interval in intervals)
    assert missed <= most(runs, ALPHA)


def arms(rng: np.random.Generator, champion: float, candidate: float, blocks: int) -> list[ArmBlock]:
    """Blocks whose common error rate moves by the hour, as traffic does."""
    found = []
    for i in range(blocks):
        level = 1.0 + 0.8 * math.sin(i)
        found.append(
            ArmBlock(
                champion_units=400,
                champion_bad=int(rng.binomial(400, champion * level)),
                candidate_units=200,
                candidate_bad=int(rng.binomial(200, champion * level + candidate - champion)),
            )
        )
    return found


def looks(blocks: list[ArmBlock], margin: float) -> tuple[bool, bool]:
    """Whether "not worse" or "harm" was ever shown, looking after each block."""
    safe = harm = False
    for count in range(1, len(blocks) + 1):
        shown = difference_evidence(blocks[:count], margin, seed=7)
        safe |= shown.log_not_worse >= math.log(1 / ALPHA)
        harm |= shown.log_harm >= math.log(1 / ALPHA)
    return safe, harm


@pytest.mark.parametrize("runs", [60, pytest.param(240, marks=pytest.mark.long)])
def test_a_canary_at_its_margin_is_rarely_promoted_and_rarely_aborted(runs: int):
    rng, margin = np.random.default_rng(4), 0.02
    found = [looks(arms(rng, 0.02, 0.04, 12), margin) for _ in range(runs)]
    assert sum(safe for safe, _ in found) <= most(runs, ALPHA)
    assert sum(harm for _, harm in found) <= most(runs, ALPHA)


def test_a_canary_far_from_its_margin_is_decided():
    rng = np.random.default_rng(5)
    equal = [looks(arms(rng, 0.02, 0.02, 12), 0.02) for _ in range(40)]
    worse = [looks(arms(rng, 0.02, 0.12, 12), 0.02) for _ in range(40)]
    assert np.mean([safe for safe, _ in equal]) >= 0.9
    assert np.mean([harm for _, harm in worse]) >= 0.95
    assert not any(harm for _, harm in equal)


def test_latency_bounds_cover_at_every_look():
    rng = np.random.default_rng(6)
    runs, missed, truth = 150, 0, math.exp(1.0 + 0.6 * 1.2815515655446004)
    for _ in range(runs):
        sample = rng.lognormal(1.0, 0.6, size=1200)
        bounds = [quantile_interval(count_latencies(sample[:n]), 0.9) for n in (50, 200, 600, 1200)]
        missed += any(not bound.low <= truth <= bound.high for bound in bounds)
    assert missed <= most(runs, ALPHA)


def test_a_slower_candidate_is_shown_and_an_equal_one_is_not():
    rng = np.random.default_rng(7)
    rule = GuardRule(metric="latency_p90_ms", margin=2.0, kind="latency")

    def state(factor: float) -> str:
        evidence = GuardEvidence(
            metric=rule.metric,
            champion_latency=count_latencies(rng.lognormal(1.0, 0.4, size=1500)),
            candidate_latency=count_latencies(factor * rng.lognormal(1.0, 0.4, size=1500)),
        )
        return judge_guard(rule, evidence, alpha=ALPHA, shared_by=1).state

    assert [state(1.0) for _ in range(20)].count("not-worse") >= 18
    assert [state(3.0) for _ in range(20)].count("harm") >= 18


def test_the_traffic_share_alarms_once_in_a_thousand_and_finds_a_wrong_one():
    rng = np.random.default_rng(8)
    runs, false, found = 2000, 0, 0
    for _ in range(runs):
        parts = rng.binomial(500, 0.1, size=8).cumsum()
        wealth = [
            sample_ratio(
                [ShareBlock(candidate_units=int(n), champion_units=500 * (i + 1) - int(n), share=0.1)]
            )
            for i, n in enumerate(parts)
        ]
        false += max(wealth) >= math.log(1000)
    for _ in range(100):
        units = int(rng.binomial(4000, 0.14))
        found += sample_ratio(
            [ShareBlock(candidate_units=units, champion_units=4000 - units, share=0.1)]
        ) >= math.log(1000)
    assert false <= most(runs, 0.001)
    assert found >= 95
