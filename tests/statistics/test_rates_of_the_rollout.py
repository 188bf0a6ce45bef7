"""Simulations: what a shadow rollout with daily paired losses does with equal, better and worse
candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

from flyball.judge.guards import GuardEvidence, GuardRule
from flyball.judge.rollout import RolloutEvidence, RolloutRules, next_action

DAY = 86_400.0
RULES = RolloutRules(
    strategy="shadow",
    steps=[1.0],
    min_requests=100,
    bake_seconds=0.0,
    max_duration_seconds=29 * DAY,
    guards=[GuardRule(metric="mae", margin=4.0)],
)


def walk(days: np.ndarray) -> str:
    """How a rollout over these daily differences ends, looked at each day."""
    for count in range(1, len(days) + 1):
        evidence = RolloutEvidence(
            step=0,
            elapsed_seconds=(count + 1) * DAY,
            bake_elapsed_seconds=1.0,
            candidate_requests=24 * count,
            guards=[GuardEvidence(metric="mae", paired=days[:count].tolist())],
        )
        decision = next_action(RULES, evidence)
        if decision.action != "wait":
            return "undecided" if decision.undecided else decision.action
    return "waiting"


def days(rng: np.random.Generator, mean: float, *, spread: float = 3.0, memory: float = 0.3) -> np.ndarray:
    """28 daily differences, each leaning a little towards the day before."""
    noise = rng.normal(size=28) * spread * np.sqrt(1 - memory**2)
    for i in range(1, 28):
        noise[i] += memory * noise[i - 1]
    return mean + noise


def ends(mean: float, *, runs: int, seed: int, **more: float) -> Counter[str]:
    rng = np.random.default_rng(seed)
    return Counter(walk(days(rng, mean, **more)) for _ in range(runs))


def most(runs: int, rate: float) -> int:
    return int(binom.ppf(0.999, runs, rate))


def test_equal_candidates_are_promoted_and_rarely_aborted():
    found = ends(0.0, runs=200, seed=1)
    assert found["promote"] >= 160
    assert found["abort"] <= most(200, 0.05)
    assert found["waiting"] == 0


def test_candidates_worse_by_twice_the_margin_are_not_promoted():
    found = ends(8.0, runs=200, seed=2)
    assert found["promote"] <= most(200, 0.05)
    assert found["abort"] >= 100


def test_at_the_margin_itself_both_errors_hold_without_memory_between_days():
    found = ends(4.0, runs=300, seed=3, memory=0.0)
    assert found["promote"] <= most(300, 0.05)
    assert found["abort"] <= most(300, 0.05)


def test_a_gain_is_promoted_soon():
    rng = np.random.default_rng(4)
    assert Counter(walk(days(rng, -15.0)[:8]) for _ in range(100))["promote"] >= 95


def test_harm_confined_to_weekends_is_not_promoted():
    rng = np.random.default_rng(5)
    found: Counter[str] = Counter()
    for _ in range(200):
        week = days(rng, 0.0, spread=1.5)
        week[np.arange(28) % 7 >= 5] += 28.0  # 8 a day over the week
        found[walk(week)] += 1
    assert found["promote"] <= most(200, 0.05)


@pytest.mark.long
def test_the_example_itself_decides_right_200_times_each(script_of: Callable[[Path], ModuleType]):
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "bike_policy"
    found = script_of(folder / "rollout_error_rates.py").simulate(repeats=200, seed=2)
    assert found["equal"]["promote"] >= 160
    assert found["equal"]["abort"] <= 10
    for name, counts in found.items():
        assert name == "equal" or counts["promote"] <= most(200, 0.05), name
