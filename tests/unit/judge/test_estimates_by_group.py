"""Means and areas with their errors, of rows alone and of rows that belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flyball.core.errors import NotEnoughEvidence
from flyball.judge.metrics.delong import areas_of, auc_difference, auc_interval
from flyball.judge.metrics.intervals import percentile_interval
from flyball.judge.metrics.means import mean_of
from flyball.judge.metrics.measure import Answers, measure, paired_difference
from flyball.judge.metrics.student import t_quantile, two_sided_p


@given(st.floats(-40, 40), st.integers(1, 100_000))
def test_students_t_is_that_of_scipy(statistic: float, degrees: int):
    assert two_sided_p(statistic, degrees) == pytest.approx(2 * stats.t.sf(abs(statistic), degrees), rel=1e-6)


@pytest.mark.parametrize("degrees", [1, 2, 9, 200, 19_999])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
def test_quantiles_of_students_t_are_those_of_scipy(confidence: float, degrees: int):
    assert t_quantile(confidence, degrees) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, degrees))


def test_without_degrees_of_freedom_nothing_is_bounded():
    assert t_quantile(0.95, 0) == float("inf")


def test_the_interval_of_values_without_skew_is_students():
    values = np.array([-3.0, -1.0, 0.5, 1.0, 2.5, 6.0, 10.0, 11.5, 12.0, 13.5, 15.5])
    symmetric = np.concatenate([values, 11.0 - values])
    interval = mean_of(symmetric).interval(0.95)
    expected = stats.t.interval(0.95, symmetric.size - 1, symmetric.mean(), stats.sem(symmetric))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert mean_of(symmetric).p == pytest.approx(stats.ttest_1samp(symmetric, 0.0).pvalue)


def test_an_interval_reaches_further_to_the_side_of_the_long_tail():
    values = np.random.default_rng(1).lognormal(size=50)
    found = mean_of(values)
    interval = found.interval(0.95)
    assert interval.high - found.estimate > 1.3 * (found.estimate - interval.low) > 0


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.floats(0.5, 0.999), st.booleans())
def test_the_p_value_is_small_just_when_the_interval_leaves_0_out(
    values: list[float], confidence: float, in_pairs: bool
):
    groups = np.arange(len(values)) // 2 if in_pairs else None
    found = mean_of(np.array(values), groups)
    interval = found.interval(confidence)
    if interval is None or found.p is None or abs(found.p - (1 - confidence)) < 1e-6:
        return
    assert interval.low <= found.estimate <= interval.high
    assert (found.p < 1 - confidence) == (not interval.low <= 0.0 <= interval.high)


@pytest.mark.parametrize("shift", [-0.5, -2.2])
def test_the_interval_at_one_minus_the_p_value_ends_at_0(shift: float):
    found = mean_of(np.random.default_rng(5).lognormal(size=40) + shift)
    interval = found.interval(1 - found.p)
    assert (interval.low if shift == -0.5 else interval.high) == pytest.approx(0.0, abs=1e-6)


def test_rows_of_a_group_that_are_copies_count_once():
    values = np.random.default_rng(2).normal(size=30)
    once, copied = mean_of(values), mean_of(np.repeat(values, 7), np.repeat(np.arange(30), 7))
    assert copied == pytest.approx(once)


def test_one_group_has_no_interval_and_equal_values_one_of_no_width():
    single = mean_of(np.array([1.0, 2.0, 4.0]), np.zeros(3))
    assert single.interval(0.95) is None
    assert single.p is None
    equal = mean_of(np.full(12, 0.1))
    assert (equal.interval(0.95).low, equal.interval(0.95).high) == pytest.approx((0.1, 0.1))
    assert equal.p is None


def test_percentiles_of_few_groups_are_cut_further_out():
    drawn = np.random.default_rng(3).normal(size=20_000)
    few, many, plain = (percentile_interval(drawn, 0.95, units=units) for units in (8, 100_000, None))
    assert few.low < many.low < plain.low + 0.02
    # Hesterberg (2015): sqrt(8/7) times t of 7 degrees of freedom.
    assert few.high == pytest.approx(np.sqrt(8 / 7) * stats.t.ppf(0.975, 7), abs=0.12)


def scored(seed: int, entities: int = 40, rows_each: int = 5) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(entities), rows_each)
    own = rng.normal(size=(2, entities))[:, groups]
    y = (own[0] + 0.5 * rng.normal(size=groups.size) > 0.3).astype(float)
    old = y + own[1] + 0.5 * rng.normal(size=groups.size)
    return y, old, old + 0.4 * rng.normal(size=groups.size), groups


def test_one_row_per_group_gives_delongs_variance():
    y, old, new, _ = scored(4)
    scores = np.stack([old, new])
    alone, each = areas_of(y, scores), areas_of(y, scores, np.arange(y.size))
    assert each.areas == pytest.approx(alone.areas)
    # The classes never meet in a group, so only the matrix within the classes is left: DeLong's.
    assert each.covariance == pytest.approx(alone.covariance, rel=0.02)
    assert each.units == alone.units == min(y.sum(), (1 - y).sum())


def test_obuchowskis_variance_by_hand():
    y = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    scores = np.array([[0.9, 0.4, 0.3, 0.5, 0.8, 0.1]])
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    found = areas_of(y, scores, groups)
    # Positives win 1, 1/3, 1 of the negatives; negatives lose against 2/3, 2/3, 1 of the positives.
    area = 7 / 9
    positives = np.array([1.0, 1 / 3, 1.0]) - area
    negatives = np.array([2 / 3, 2 / 3, 1.0]) - area
    within = (positives @ positives + negatives @ negatives) * (3 / 2) / 9
    across = positives @ negatives * (3 / 2) / 9
    assert found.areas[0] == pytest.approx(area)
    assert found.covariance[0, 0] == pytest.approx(within + 2 * across)
    assert found.units == 3


def test_the_clustered_variance_is_that_of_drawing_whole_entities():
    y, old, new, groups = scored(5, entities=300)
    rng = np.random.default_rng(6)
    members = np.split(np.arange(y.size), 300)
    drawn = []
    for _ in range(400):
        rows = np.concatenate([members[i] for i in rng.integers(300, size=300)])
        drawn.append(auc_difference(y[rows], old[rows], new[rows]).estimate)
    found = auc_difference(y, old, new, groups=groups)
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.15)


def test_copied_rows_of_an_entity_are_no_new_evidence_of_an_area():
    y, old, new, _ = scored(7)
    once = auc_difference(y, old, new, groups=np.arange(y.size))
    copied = auc_difference(*(np.repeat(v, 6) for v in (y, old, new)), groups=np.repeat(np.arange(y.size), 6))
    assert copied.estimate == pytest.approx(once.estimate)
    assert copied.standard_error == pytest.approx(once.standard_error)
    assert copied.degrees == once.degrees


def test_a_class_that_is_in_one_entity_only_has_no_interval():
    y = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    with pytest.raises(NotEnoughEvidence, match="two groups"):
        auc_interval(y, np.arange(6.0), groups=np.array([1, 1, 1, 2, 3, 4]))
    answers = Answers(prediction=y, scores=np.arange(6.0) / 6)
    other = Answers(prediction=y, scores=np.array([0.5, 0.1, 0.3, 0.2, 0.6, 0.4]))
    paired = paired_difference("binary", "roc_auc", y, answers, other, seed=1, groups=[1, 1, 1, 2, 3, 4])
    assert paired.difference is None
    assert paired.p is None


def test_a_handful_of_positives_bounds_less_than_the_normal_distribution_would():
    rng = np.random.default_rng(8)
    y = np.zeros(2_000)
    y[:3] = 1.0
    found = auc_difference(y, y + rng.normal(size=2_000), y + rng.normal(size=2_000))
    interval = found.interval(0.95)
    assert found.degrees == 2
    assert interval.high - interval.low > min(2 * 4.3 * found.standard_error, 1.0)


def test_an_area_measured_on_entities_has_the_wider_interval():
    y, old, _, groups = scored(9, entities=60)
    shares = 1 / (1 + np.exp(-old))
    alone, together = (
        measure("binary", y, shares > 0.5, seed=1, scores=shares, positive=1, groups=g, resamples=50)[
            "roc_auc"
        ]
        for g in (None, groups)
    )
    assert together.value == alone.value
    assert together.interval.high - together.interval.low > 1.2 * (alone.interval.high - alone.interval.low)
