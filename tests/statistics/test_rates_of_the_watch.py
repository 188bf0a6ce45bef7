"""Simulations: the alarm budget holds on windows that are alike, clustered or slow, and real changes are
found.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from flyball.judge.drift.performance import confirm
from flyball.judge.drift.profile import Reference, fit_reference, summarise
from flyball.judge.drift.statistics import compare, drift_scores
from flyball.judge.drift.watch import watch_columns, watch_value

COLUMNS = 6
ROWS = 200
HISTORY = 40


def most(runs: int, rate: float) -> int:
    return int(binom.ppf(0.999, runs, rate))


def rows(
    rng: np.random.Generator, kind: str, *, shift: float = 0.0, spread: float = 1.0
) -> dict[str, np.ndarray]:
    """One window: rows of their own, or ten alike rows per entity."""
    units = ROWS if kind == "rows" else ROWS // 10
    common = rng.normal(size=(units, 1))
    table = 0.5 * common + rng.normal(size=(units, COLUMNS))
    if kind == "entities":
        table = np.repeat(table, 10, axis=0) + 0.1 * rng.normal(size=(ROWS, COLUMNS))
    table[:, 0] = table[:, 0] * spread + shift
    return {f"c{i}": table[:, i] for i in range(COLUMNS)}


def reference_of(rng: np.random.Generator, kind: str) -> Reference:
    parts = [rows(rng, kind) for _ in range(10)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return fit_reference(joined, dict.fromkeys(joined, "numeric"))


def scores(reference: Reference, window: dict[str, np.ndarray]) -> dict[str, float]:
    return drift_scores(compare(reference, summarise(reference, window)))


@pytest.mark.parametrize("kind", ["rows", "entities"])
def test_drift_alarms_keep_their_budget(kind: str):
    rng = np.random.default_rng(1)
    false, runs, alpha = 0, 0, 0.05
    for _ in range(30):
        reference = reference_of(rng, kind)
        windows = [scores(reference, rows(rng, kind)) for _ in range(HISTORY + 10)]
        for current in windows[HISTORY:]:
            false += watch_columns(windows[:HISTORY], current, alpha).alarm
            runs += 1
    # Ten looks share a history, so the count varies more than a binomial one; a third is added for that.
    assert false <= 1.33 * most(runs, alpha)
    assert false > 0


@pytest.mark.parametrize(
    ("change", "power"), [({"shift": 0.5}, 0.9), ({"spread": 1.5}, 0.8), ({"shift": 0.25}, 0.3)]
)
def test_a_change_in_one_column_of_six_is_found_and_named(change: dict[str, float], power: float):
    rng = np.random.default_rng(2)
    found = named = 0
    for _ in range(40):
        reference = reference_of(rng, "rows")
        history = [scores(reference, rows(rng, "rows")) for _ in range(HISTORY)]
        watched = watch_columns(history, scores(reference, rows(rng, "rows", **change)), 0.05)
        found += watched.alarm
        named += watched.alarm and watched.top[0][0].startswith("c0|")
    assert found >= power * 40
    assert named >= 0.8 * found


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_loss_alarms_keep_their_budget(memory: float):
    rng = np.random.default_rng(3)
    runs, alpha, false = 1500, 0.1, 0
    for _ in range(runs):
        series = rng.normal(size=27)
        for i in range(1, 27):
            series[i] = memory * series[i - 1] + np.sqrt(1 - memory**2) * series[i]
        false += watch_value(series[:-1].tolist(), float(series[-1]), alpha).alarm
    assert false <= most(runs, alpha)
    assert false >= 0.5 * alpha * runs


def test_a_loss_three_spreads_up_is_an_alarm():
    rng = np.random.default_rng(4)
    found = sum(watch_value(rng.normal(size=26).tolist(), 3.0, 0.1).alarm for _ in range(200))
    assert found >= 195


def test_windows_that_vary_by_a_tenth_are_not_confirmed_as_worse():
    rng = np.random.default_rng(5)
    confirmed = 0
    for _ in range(200):
        losses = 40.0 * rng.lognormal(0.0, 0.1, size=78)
        confirmed += any(confirm(losses[: i + 1].tolist(), 40.0).confirmed for i in range(78))
    # 78 windows, a year and a half: at most a tenth of such streams would retrain once.
    assert confirmed <= most(200, 0.1)


def test_an_error_half_up_is_confirmed_in_two_windows():
    rng = np.random.default_rng(6)
    soon = sum(confirm((60.0 * rng.lognormal(0.0, 0.1, size=2)).tolist(), 40.0).confirmed for _ in range(100))
    assert soon >= 90
