"""Simulations: how often a table of labelled slices says something that is not so.

Each table has 40 slices of nine columns, which share rows; entities of two rows are alike; losses have heavy tails.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from flyball.judge.gates.labels import label, labels_of_many
from flyball.judge.metrics.measure import Answers, Paired, paired_difference

LEVELS = (2, 2, 3, 4, 4, 5, 6, 6, 8)
ENTITIES = 1_500


def table(rng: np.random.Generator, harm: float, confidence: float = 0.95) -> dict[str, Paired]:
    """Slices of equal models, but for two of column 7: `harm` more loss in level 0, as much less in level 1."""
    groups = np.repeat(np.arange(ENTITIES), 2)
    columns = [rng.integers(levels, size=ENTITIES)[groups] for levels in LEVELS]
    shared = 10 * rng.standard_t(4, size=ENTITIES)[groups]
    old, new = (
        np.abs(shared + 5 * rng.standard_t(4, size=ENTITIES)[groups] + 3 * rng.normal(size=groups.size))
        for _ in range(2)
    )
    new = new + harm * ((columns[7] == 0).astype(float) - (columns[7] == 1))
    found = {}
    for place, column in enumerate(columns):
        for level in range(LEVELS[place]):
            rows = column == level
            answers = [Answers(prediction=errors[rows]) for errors in (old, new)]
            found[f"{place}={level}"] = paired_difference(
                "regression",
                "mae",
                np.zeros(rows.sum()),
                *answers,
                seed=1,
                groups=groups[rows],
                confidence=confidence,
            )
    return found


def false_share(labels: dict[str, str], true: dict[str, str]) -> float:
    """The share of false labels among all that a table gives; 0 for a table that gives none."""
    said = {name: word for name, word in labels.items() if word in ("better", "worse")}
    return sum(true.get(name) != word for name, word in said.items()) / max(len(said), 1)


def rates(tables: int, harm: float, seed: int) -> tuple[float, float, float]:
    """Mean share of false labels, how often the true ones are found, and what labels one by one would do."""
    rng = np.random.default_rng(seed)
    true = {"7=0": "worse", "7=1": "better"} if harm else {}
    false, found, alone = [], [], []
    for _ in range(tables):
        pairs = table(rng, harm)
        labels = labels_of_many(pairs)
        false.append(false_share(labels, true))
        found.append(np.mean([labels[name] == word for name, word in true.items()]) if true else 0.0)
        alone.append(false_share({name: label(pair) for name, pair in pairs.items()}, true))
    return float(np.mean(false)), float(np.mean(found)), float(np.mean(alone))


def test_a_table_of_equal_models_seldom_says_anything():
    tables = 30
    false, _, alone = rates(tables, 0.0, seed=1)
    assert false <= binom.ppf(0.999, tables, 0.05) / tables
    # Labels that are right one by one are not, side by side.
    assert alone > 0.10


@pytest.mark.long
def test_a_thousand_tables_of_equal_models_say_something_in_one_of_twenty_at_most():
    false, _, alone = rates(1000, 0.0, seed=2)
    assert false <= 0.05
    assert alone > 0.2


@pytest.mark.long
def test_of_the_labels_of_a_thousand_tables_with_a_hidden_harm_one_in_twenty_is_false_at_most():
    false, found, _ = rates(1000, 2.0, seed=3)
    assert false <= 0.05
    assert found >= 0.5


def test_a_harm_in_one_slice_that_another_makes_up_for_is_found_in_both():
    tables = 20
    false, found, _ = rates(tables, 3.5, seed=4)
    assert found >= 0.9
    assert false <= 0.15
