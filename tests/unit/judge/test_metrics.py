"""Metrics with known values, and agreement with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from flyball.core.errors import BadInput
from flyball.judge.metrics.table import METRICS, compute_metrics, default_loss, get_metric, row_losses

labels_and_scores = st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99)), min_size=2, max_size=60).map(
    lambda rows: (np.array([int(a) for a, _ in rows]), np.array([b for _, b in rows]))
)


def test_regression_metrics_of_three_rows():
    found = compute_metrics("regression", [1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    assert found["mae"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(np.sqrt(5 / 3))
    assert found["absolute_bias"] == pytest.approx(1 / 3)
    assert found["median_absolute_error"] == pytest.approx(1.0)
    assert found["mape"] == pytest.approx(0.5)


def test_undefined_metrics_are_left_out_and_never_nan():
    constant = compute_metrics("regression", [0.0, 0.0], [1.0, 2.0])
    assert "r2" not in constant
    assert "mape" not in constant
    one_class = compute_metrics("binary", [1, 1], [1, 0], scores=np.array([0.9, 0.4]), positive=1)
    assert "roc_auc" not in one_class
    assert "false_positive_rate" not in one_class
    assert one_class["true_positive_rate"] == 0.5


@given(labels_and_scores)
def test_binary_metrics_agree_with_scikit_learn(rows: tuple[np.ndarray, np.ndarray]):
    y, scores = rows
    said = (scores >= 0.5).astype(int)
    found = compute_metrics("binary", y, said, scores=scores, positive=1)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(y, said))
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(y, scores))
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(y, scores, labels=[0, 1]))
    if 0 < y.sum() < y.size:
        assert found["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(y, scores))
        assert found["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(y, scores))
        assert found["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(y, said))
    if y.sum() + said.sum():
        assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(y, said))


def test_multiclass_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(4)
    y = rng.choice(["a", "b", "c"], size=200)
    scores = rng.dirichlet([1, 1, 1], size=200)
    said = np.array(["a", "b", "c"])[scores.argmax(axis=1)]
    found = compute_metrics("multiclass", y, said, scores=scores, classes=["a", "b", "c"])
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(y, scores))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(y, said, average="macro"))
    assert found["roc_auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(y, scores, multi_class="ovr", labels=["a", "b", "c"])
    )


@pytest.mark.parametrize(
    ("positive", "labels"), [(1, [1.0, 0.0]), (True, [True, False]), ("yes", ["yes", "no"]), (1, ["1", "0"])]
)
def test_a_positive_class_is_found_however_it_is_written(positive: object, labels: list[object]):
    found = compute_metrics("binary", labels, labels, positive=positive)
    assert found["accuracy"] == 1.0
    assert found["true_positive_rate"] == 1.0


def test_row_losses_average_to_the_metric():
    rng = np.random.default_rng(5)
    y, scores = rng.integers(0, 2, 50), rng.uniform(0.01, 0.99, 50)
    said = (scores > 0.5).astype(int)
    found = compute_metrics("binary", y, said, scores=scores, positive=1)
    for name in ("log_loss", "brier", "accuracy"):
        rows = row_losses("binary", name, y, said, scores=scores, positive=1)
        assert rows is not None
        assert rows.mean() == pytest.approx(found[name])
    assert row_losses("binary", "roc_auc", y, said, scores=scores, positive=1) is None


def test_a_metric_of_another_task_is_refused_with_the_ones_there_are():
    with pytest.raises(BadInput, match="roc_auc"):
        get_metric("mae", "binary")


def test_a_loss_without_probabilities_is_refused():
    with pytest.raises(BadInput, match="probabilities"):
        row_losses("binary", "log_loss", [1, 0], [1, 0], positive=1)


def test_each_task_has_a_default_loss_that_falls():
    for task in ("binary", "multiclass", "regression"):
        assert not METRICS[default_loss(task)].larger_is_better


def test_answers_of_another_number_of_rows_are_refused():
    with pytest.raises(BadInput, match="belong together"):
        compute_metrics("regression", [1.0], [1.0, 2.0])


def test_no_rows_have_no_metrics():
    assert compute_metrics("regression", [], []) == {}
