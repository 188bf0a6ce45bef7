"""Bootstrap and DeLong intervals, and the paired comparison."""

from __future__ import annotations

import numpy as np
import pytest

from flyball.core.errors import NotEnoughEvidence
from flyball.judge.metrics.delong import areas_of, auc_difference, auc_interval
from flyball.judge.metrics.intervals import (
    bootstrap_draws,
    mean_interval,
    moving_block_indices,
    moving_block_mean_interval,
)
from flyball.judge.metrics.measure import Answers, measure, paired_difference

DAY = 86_400.0


def test_a_mean_of_equal_values_has_no_width():
    interval = mean_interval(np.full(30, 2.5), seed=1)
    assert (interval.low, interval.high) == (2.5, 2.5)


def test_rows_that_belong_together_give_a_wider_interval():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(20), 10)
    values = rng.normal(size=20)[groups] + 0.1 * rng.normal(size=200)
    alone, together = mean_interval(values, seed=1), mean_interval(values, seed=1, groups=groups)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_moving_blocks_keep_neighbours_together():
    drawn = moving_block_indices(30, 7, 50, np.random.default_rng(1))
    assert drawn.shape == (50, 30)
    assert drawn.min() >= 0
    assert drawn.max() < 30
    assert (np.diff(drawn[:, :7], axis=1) == 1).all()


def test_time_blocks_widen_the_interval_of_a_slow_series():
    rng = np.random.default_rng(3)
    days = np.cumsum(rng.normal(size=200)) * 0.2
    at = np.repeat(np.arange(200.0), 24) * DAY
    values = np.repeat(days, 24)
    one = moving_block_mean_interval(values, at, block_seconds=DAY, seed=1)
    weekly = moving_block_mean_interval(values, at, block_seconds=7 * DAY, seed=1)
    assert weekly.high - weekly.low > 1.5 * (one.high - one.low)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(4).normal(size=100)
    assert mean_interval(values, seed=9) == mean_interval(values, seed=9)
    assert mean_interval(values, seed=9) != mean_interval(values, seed=10)


def test_an_interval_of_nothing_is_an_error_and_not_zero():
    with pytest.raises(NotEnoughEvidence):
        mean_interval(np.array([]), seed=1)


def test_a_statistic_that_is_mostly_undefined_has_no_interval():
    assert bootstrap_draws(lambda rows: None, 10, seed=1) is None


def test_delong_by_hand_with_ties():
    truth = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    scores = np.array([[0.9, 0.5, 0.4, 0.5, 0.1]])
    areas, covariance, units = areas_of(truth, scores)
    assert units == 2
    # Pairs won: 0.9 wins both, 0.5 ties one and wins one, 0.4 loses one and wins one.
    assert areas[0] == pytest.approx((1 + 0.75 + 0.5) / 3)
    positives, negatives = [1.0, 0.75, 0.5], [1.5 / 3, 1.0]
    by_hand = np.var(positives, ddof=1) / 3 + np.var(negatives, ddof=1) / 2
    assert covariance[0, 0] == pytest.approx(by_hand)


def test_an_auc_interval_stays_inside_its_range():
    rng = np.random.default_rng(5)
    truth = np.repeat([1.0, 0.0], 15)
    interval = auc_interval(truth, truth + rng.normal(size=30) * 0.9)
    assert 0.0 < interval.low < interval.high < 1.0
    perfect = auc_interval(truth, truth)
    assert perfect.high == 1.0
    assert 0.7 < perfect.low < 1.0


def test_the_same_scorer_differs_by_nothing_and_a_monotone_one_too():
    rng = np.random.default_rng(6)
    truth, scores = rng.integers(0, 2, 80).astype(float), rng.uniform(size=80)
    interval = auc_difference(truth, scores, scores**3).interval(0.95)
    assert interval.low == pytest.approx(0.0, abs=1e-12)
    assert interval.high == pytest.approx(0.0, abs=1e-12)


def test_one_class_has_no_auc_interval():
    with pytest.raises(NotEnoughEvidence):
        auc_interval(np.ones(5), np.arange(5.0))


def test_pairing_narrows_the_difference():
    rng = np.random.default_rng(7)
    y = rng.normal(size=300) * 10
    old = y + rng.normal(size=300) * 5
    new = old + rng.normal(size=300) * 0.5
    paired = paired_difference(
        "regression", "mae", y, Answers(prediction=old), Answers(prediction=new), seed=1
    )
    assert paired.difference is not None
    assert paired.difference.high - paired.difference.low < 0.3
    assert paired.estimate == pytest.approx(paired.candidate - paired.champion)
    assert not paired.identical


def test_identical_answers_are_known_as_identical():
    answers = Answers(prediction=np.arange(5.0))
    paired = paired_difference("regression", "mae", np.zeros(5), answers, answers, seed=1)
    assert paired.identical


def test_other_metrics_are_compared_by_paired_bootstrap():
    rng = np.random.default_rng(8)
    y = rng.normal(size=120)
    good, poor = Answers(prediction=y + 0.1), Answers(prediction=y + rng.normal(size=120))
    paired = paired_difference("regression", "rmse", y, poor, good, seed=1, resamples=200)
    assert paired.difference is not None
    assert paired.difference.high < 0


def test_an_undefined_metric_can_not_be_compared():
    answers = Answers(prediction=[1, 1], scores=[0.4, 0.5])
    with pytest.raises(NotEnoughEvidence, match="roc_auc"):
        paired_difference("binary", "roc_auc", [1, 1], answers, answers, seed=1, positive=1)


def test_measured_values_lie_in_their_intervals():
    rng = np.random.default_rng(9)
    y, scores = rng.integers(0, 2, 300), rng.uniform(size=300)
    measured = measure(
        "binary", y, (scores > 0.5).astype(int), seed=1, scores=scores, positive=1, resamples=100
    )
    assert {"roc_auc", "log_loss", "accuracy", "f1"} <= set(measured)
    for name, found in measured.items():
        assert found.interval is not None, name
        assert found.interval.low <= found.value <= found.interval.high, name
        assert found.row_count == 300
