"""How often a healthy column is called broken, and a broken one is found, also with few rows and few values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import betabinom

from flyball.judge.drift.facts import find_broken, leaving_chance
from flyball.judge.drift.profile import fit_reference, summarise

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

SIZES = [(20, 50), (50, 100), (200, 100), (1000, 168)]
HEALTHY: dict[str, Draw] = {
    "grades": lambda rng, n: rng.choice([1.0, 2.0, 3.0], size=n),
    "grades with rare ends": lambda rng, n: rng.choice(6, p=[0.03, 0.3, 0.34, 0.3, 0.025, 0.005], size=n),
    "a flag": lambda rng, n: rng.random(n) < 0.03,
    "claims": lambda rng, n: rng.poisson(0.1, n),
    "people": lambda rng, n: rng.poisson(1.0, n),
    "tries": lambda rng, n: rng.geometric(0.5, n),
    "orders": lambda rng, n: np.minimum(rng.zipf(1.8, n), 10**6),
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
}


def is_broken(before: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    reference = fit_reference({"v": before.astype(float)}, {"v": "numeric"})
    current = summarise(reference, {"v": now.astype(float)})
    return bool(find_broken(reference.features, [reference.summary], current))


@pytest.mark.parametrize("name", list(HEALTHY))
def test_a_healthy_column_is_never_called_broken_however_short_its_past(name: str):
    rng = np.random.default_rng(11)
    draw = HEALTHY[name]
    for past, window in SIZES:
        assert not any(is_broken(draw(rng, past), draw(rng, window)) for _ in range(300)), (past, window)


NARROW = ["grades", "people", "tries", "normal"]


@pytest.mark.parametrize("name", NARROW)
def test_a_wrong_unit_is_found_however_short_the_past(name: str):
    rng = np.random.default_rng(12)
    draw = HEALTHY[name]
    for past, window in SIZES:
        assert all(is_broken(draw(rng, past), draw(rng, window) * 10 + 32) for _ in range(100)), (
            past,
            window,
        )


@pytest.mark.parametrize("name", NARROW)
def test_nonsense_in_every_sixth_row_is_found_once_the_past_is_as_long_as_two_windows(name: str):
    rng = np.random.default_rng(12)
    draw = HEALTHY[name]
    for past, window in SIZES[2:]:
        sixth = np.arange(window) % 6 == 0
        for _ in range(100):
            assert is_broken(draw(rng, past), np.where(sixth, 9999.0, draw(rng, window))), (past, window)


@pytest.mark.parametrize(("past", "window"), [(1, 5), (5, 10), (20, 10), (30, 60)])
def test_the_chance_of_leaving_the_past_range_is_what_it_is_said_to_be(past: int, window: int):
    rng = np.random.default_rng(13)
    runs = 20_000
    before, now = rng.normal(size=(runs, past)), rng.normal(size=(runs, window))
    low, high = before.min(axis=1, keepdims=True), before.max(axis=1, keepdims=True)
    outside = ((now < low) | (now > high)).sum(axis=1)
    for count in range(window + 1):
        stated = leaving_chance(count, window, past)
        error = np.sqrt(max(stated * (1 - stated), 1 / runs) / runs)
        assert (outside >= count).mean() == pytest.approx(stated, abs=4 * error)


@pytest.mark.parametrize(("past", "window"), [(1, 5), (5, 10), (50, 50), (1000, 100), (3000, 200)])
def test_the_chance_of_leaving_the_past_range_is_the_sum_of_its_terms_down_to_the_smallest(
    past: int, window: int
):
    # Term by term: one minus the distribution function, as scipy has it, loses every digit of a small chance.
    terms = (
        betabinom(window, 2, past - 1).pmf(np.arange(window + 1)) if past > 1 else np.eye(window + 1)[window]
    )
    for count in range(window + 1):
        assert leaving_chance(count, window, past) == pytest.approx(terms[count:].sum(), rel=1e-9)
