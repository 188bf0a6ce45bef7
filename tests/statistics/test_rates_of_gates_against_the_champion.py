"""Simulations: how often a gate passes a worse model, blocks an equal one, and how often a label is wrong.

The pairs are drawn by benchmarks/gates/error_rates.py, which prints the same as a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gates" / "error_rates.py"
AREAS = ("auc, rows alone", "auc, entities of five rows")
LOSSES = ("log loss, seldom and dearly wrong", "mae, heavy tails", "mae, ten blocks of hours")
SHORT, LONG = 12, 1000


@pytest.fixture
def rates(script_of: Callable[[Path], ModuleType]) -> ModuleType:
    return script_of(SCRIPT)


def cells_of(rates: ModuleType, name: str) -> list:
    return [cell for cell in rates.cells() if cell.name == name]


def most(runs: int, rate: float) -> float:
    """The largest share that a true rate gives in all but one of a thousand simulations."""
    return float(binom.ppf(0.999, runs, rate)) / runs


@pytest.mark.parametrize("name", AREAS + LOSSES)
def test_few_pairs_are_judged_as_often_rightly_as_promised(rates: ModuleType, name: str):
    pairs = SHORT if name in AREAS else 5 * SHORT
    equal, at_margin, beyond = (rates.simulate(cell, pairs=pairs) for cell in cells_of(rates, name))
    assert equal.passed >= 1 - most(pairs, 0.10)
    assert equal.wrong <= most(pairs, 0.05)
    assert at_margin.passed <= most(pairs, 0.05)
    assert beyond.passed <= most(pairs, 0.001)
    assert at_margin.wrong == beyond.wrong == 0


@pytest.mark.long
@pytest.mark.parametrize("name", AREAS + LOSSES)
def test_a_thousand_pairs_are_judged_as_often_rightly_as_promised(rates: ModuleType, name: str):
    equal, at_margin, beyond = (rates.simulate(cell, pairs=LONG) for cell in cells_of(rates, name))
    # The Monte Carlo error of a rate of 5 % over 1,000 pairs is 0.7 points; the true rates are near half of it.
    assert equal.passed >= 0.90
    assert equal.wrong <= 0.05
    assert at_margin.passed <= 0.05
    assert 1 - beyond.passed >= 0.95
    assert beyond.failed >= 0.75


@pytest.mark.long
def test_entities_taken_for_rows_would_break_what_is_promised(rates: ModuleType):
    equal, at_margin, _ = (
        rates.simulate(cell, pairs=LONG) for cell in cells_of(rates, "auc, entities taken for rows")
    )
    assert at_margin.passed > 0.10
    assert equal.wrong > 0.08


def test_on_too_few_rows_nothing_is_decided(rates: ModuleType):
    pairs = 150
    for cell in cells_of(rates, "auc, 100 rows"):
        found = rates.simulate(cell, pairs=pairs)
        assert found.undecided >= 0.85
        assert cell.harm == 0 or found.passed <= most(pairs, 0.05)


def test_entities_are_drawn_as_alike_as_the_clustered_variance_is_needed_for(rates: ModuleType):
    cell = cells_of(rates, "auc, entities of five rows")[0]
    pair = cell.draw(np.random.default_rng(3), 0.0)
    together = rates.compared(cell, pair)
    apart = rates.compared(dataclasses.replace(cell, uses_groups=False), pair)
    assert together.estimate == apart.estimate
    width = together.difference.high - together.difference.low
    assert width > 1.6 * (apart.difference.high - apart.difference.low)
    assert (together.group_count, apart.group_count) == (4_000, 20_000)


def test_the_gate_allows_what_its_margin_says_and_twice_it_is_asked_too(rates: ModuleType):
    for name in AREAS:
        assert [cell.harm for cell in cells_of(rates, name)] == [0, 0.01, 0.02]
        assert {cell.gate.max_decrease for cell in cells_of(rates, name)} == {0.01}
