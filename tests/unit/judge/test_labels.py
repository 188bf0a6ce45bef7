"""Labels of differences: of one alone, and of many in one table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from flyball.core.values import Interval
from flyball.judge.gates.labels import label, labels_of_many, step_up_limit
from flyball.judge.metrics.measure import Paired


def paired(estimate: float, p: float | None, *, metric: str = "mae", **more: object) -> Paired:
    width = 2 * abs(estimate) if p is None or p > 0.05 else abs(estimate) / 2
    known = {
        "metric": metric,
        "champion": 50.0,
        "candidate": 50.0 + estimate,
        "estimate": estimate,
        "difference": Interval(estimate - width, estimate + width),
        "row_count": 900,
        "group_count": 900,
        "identical": False,
        "p": p,
    }
    return Paired(**(known | more))


def test_better_and_worse_go_by_the_direction_of_the_metric():
    assert label(paired(-2.0, 0.001)) == "better"
    assert label(paired(2.0, 0.001)) == "worse"
    assert label(paired(0.02, 0.001, metric="roc_auc")) == "better"
    assert label(paired(-0.02, 0.001, metric="roc_auc")) == "worse"


def test_identical_answers_are_the_same_and_nothing_else_is():
    assert label(paired(0.0, None, difference=Interval(0.0, 0.0), identical=True)) == "same"
    assert label(paired(0.0, None, difference=Interval(0.0, 0.0))) == "unclear"
    assert label(paired(0.0, 1.0, difference=Interval(-1e-9, 1e-9))) == "unclear"


def test_an_interval_over_0_or_a_doubtful_p_value_or_none_is_unclear():
    assert label(paired(2.0, 0.001, difference=Interval(-0.1, 4.0))) == "unclear"
    assert label(paired(2.0, 0.03)) == "unclear"
    assert label(paired(2.0, None)) == "unclear"
    assert label(paired(2.0, 0.001, difference=None)) == "unclear"


def test_one_of_many_needs_more_to_be_called_worse_than_it_would_alone():
    dull = {f"slice {i}": paired(0.1, 0.5) for i in range(19)}
    found = labels_of_many({**dull, "young": paired(2.0, 0.002)})
    assert set(found.values()) == {"unclear"}
    assert labels_of_many({**dull, "young": paired(2.0, 0.001)})["young"] == "worse"
    assert list(found) == [*dull, "young"]


def test_where_nearly_all_slices_are_worse_each_needs_less():
    found = labels_of_many({f"slice {i}": paired(2.0, 0.001 if i < 9 else 0.024) for i in range(10)})
    assert set(found.values()) == {"worse"}


def test_slices_that_can_not_be_judged_are_unclear_and_count():
    unknown = {f"small {i}": paired(1.0, None, difference=None) for i in range(40)}
    found = labels_of_many(
        {**unknown, "large": paired(2.0, 0.001), "still": paired(0.0, None, identical=True)}
    )
    assert found["large"] == "unclear"
    assert found["small 3"] == "unclear"
    assert found["still"] == "same"
    assert labels_of_many({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_the_limit_is_that_of_benjamini_and_hochberg(p_values: list[float], rate: float):
    limit = step_up_limit(p_values, rate)
    adjusted = false_discovery_control(p_values, method="bh")
    for p, other in zip(p_values, adjusted, strict=True):
        if other != pytest.approx(rate):
            assert (p <= limit) == (other <= rate)
