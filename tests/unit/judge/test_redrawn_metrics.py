"""What resamples give without being sorted each is what sorting each gives, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.judge.metrics.classification import binary_metrics
from flyball.judge.metrics.intervals import resampled_rows
from flyball.judge.metrics.measure import measure
from flyball.judge.metrics.redrawn import Redrawn
from flyball.judge.metrics.table import is_positive

DRAWN = (
    "average_precision",
    "balanced_accuracy",
    "f1",
    "precision",
    "true_positive_rate",
    "false_positive_rate",
)


def _expected(truth: Any, said: Any, scores: Any, rows: Any) -> dict[str, float]:
    found = binary_metrics(truth[rows], said[rows], scores[rows])
    return {name: found[name] for name in DRAWN if found[name] is not None}


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 400),
    levels=st.sampled_from([1, 2, 7, 1_000_000]),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_drawn_metrics_are_those_of_the_drawn_rows_to_the_last_bit(
    seed: int, count: int, levels: int, share: float
):
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < share).astype(np.float64)
    scores = rng.integers(levels, size=count) / levels
    said = (scores >= 0.5).astype(np.float64)
    redrawn = Redrawn(truth, said, scores)
    groups = rng.integers(5, size=count)
    for labels in (None, groups):
        for rows in resampled_rows(count, seed=seed, groups=labels, resamples=5):
            assert redrawn.values(rows) == _expected(truth, said, scores, rows)


def test_without_scores_there_is_no_ranking():
    truth = np.array([0.0, 1.0, 1.0])
    found = Redrawn(truth, truth, None).values(np.array([0, 1, 1]))
    assert found == {
        "precision": 1.0,
        "true_positive_rate": 1.0,
        "false_positive_rate": 0.0,
        "f1": 1.0,
        "balanced_accuracy": 1.0,
    }


def test_one_metric_alone_has_the_interval_that_it_has_among_all():
    rng = np.random.default_rng(3)
    truth = (rng.random(500) < 0.3).astype(int).tolist()
    scores = np.clip(rng.normal(0.3, 0.2, 500) + 0.2 * np.array(truth), 0, 1)
    said = (scores > 0.5).astype(int).tolist()
    every = measure("binary", truth, said, scores=scores, positive=1, seed=7)
    for name, measured in every.items():
        assert measure("binary", truth, said, scores=scores, positive=1, seed=7, only=name) == {
            name: measured
        }


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [
        ([True, False, 1, 0, 1.0], 1, [1, 0, 1, 0, 1]),
        (["yes", "no", "yes"], "yes", [1, 0, 1]),
        (["1", 1, 1.5, "0"], "1", [1, 1, 0, 0]),
        ([np.int64(3), np.float64(3.0), "3"], 3, [1, 1, 1]),
        ([float("nan"), 2.0], None, [1, 0]),
    ],
)
def test_labels_are_compared_as_text_whatever_their_type(labels: list[Any], positive: Any, expected: Any):
    assert is_positive(labels, positive).tolist() == expected
