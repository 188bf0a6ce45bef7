from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from flyball.core.project import Task
from flyball.data.leaks import find_leaks

RANDOM = np.random.default_rng(3)
COUNT = 600
NOISE = RANDOM.normal(size=COUNT)
NUMBER = np.exp(RANDOM.normal(size=COUNT))
RARE = (RANDOM.random(COUNT) < 0.05).astype(int)
SITE = RANDOM.choice(["a", "b", "c"], COUNT)


def leaking(task: Task, target: Any, **features: Any) -> list[list[str]]:
    frame = pl.DataFrame({**features, "y": target})
    return [finding.facts["features"] for finding in find_leaks(frame, list(features), "y", task)]


@pytest.mark.parametrize(
    ("task", "target", "feature"),
    [
        ("regression", NUMBER, NUMBER * 3 + 1),
        ("regression", NUMBER, -np.log(NUMBER)),
        ("binary", RARE, RARE * 5.0 + RANDOM.random(COUNT)),
        ("binary", RARE, 1 - RARE),
        ("binary", RARE, np.where(RARE == 1, "paid off", "open")),
        ("binary", RARE, pl.Series([7 if bad else None for bad in RARE])),
        ("multiclass", SITE, np.char.upper(SITE)),
        ("multiclass", SITE, np.where(SITE == "b", 1.0, 0.0) + NOISE / 100),
    ],
)
def test_a_feature_that_gives_the_target_away_is_found(task: Task, target: Any, feature: Any):
    assert leaking(task, target, told=feature, noise=NOISE) == [["told"]]


@pytest.mark.parametrize(("task", "target"), [("regression", NUMBER), ("binary", RARE), ("multiclass", SITE)])
def test_strong_but_honest_features_are_not_accused(task: Task, target: Any):
    if task == "regression":
        strong: Any = np.log(NUMBER) + 0.2 * NOISE
    else:
        strong = (np.asarray(target) == np.asarray(target)[0]) * 2.0 + NOISE
    names = np.array([f"name {number}" for number in range(COUNT)])
    gaps = pl.Series([None if number % 3 else 1.0 for number in range(COUNT)])

    assert leaking(task, target, strong=strong, noise=NOISE, names=names, gaps=gaps, flag=NOISE > 0) == []


def test_two_columns_whose_sum_or_difference_is_the_target_are_found():
    casual, registered = RANDOM.integers(0, 50, COUNT), RANDOM.integers(0, 400, COUNT)
    bill = casual + registered + 9

    assert leaking("regression", casual + registered, casual=casual, noise=NOISE, registered=registered) == [
        ["casual", "registered"]
    ]
    assert leaking("regression", bill - registered + 0.0, bill=bill, noise=NOISE, registered=registered) == [
        ["bill", "registered"]
    ]


def test_what_is_found_says_what_to_do():
    (finding,) = find_leaks(pl.DataFrame({"copy": NUMBER, "y": NUMBER}), ["copy"], "y", "regression")

    assert finding.kind == "leak"
    assert "copy" in finding.sentence and "[data].exclude" in finding.sentence
    assert finding.facts["strength"] == 1.0


def test_few_rows_constant_and_empty_columns_say_nothing():
    assert leaking("regression", [float(n) for n in range(20)], copy=[float(n) for n in range(20)]) == []
    assert (
        leaking("regression", NUMBER, void=pl.Series([None] * COUNT), same=[1] * COUNT, nan=[math.pi] * COUNT)
        == []
    )
