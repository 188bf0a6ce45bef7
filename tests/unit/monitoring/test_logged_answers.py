from __future__ import annotations

import math

import polars as pl
import pytest

from flyball.monitoring.answers import measure_rows, row_harms, scores_of, shape_of, watched_answers


def binary(**changes):
    given = {
        "prediction": ["yes", "no", "no"],
        "outcome": ["yes", "yes", "no"],
        "scores": [[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]],
    }
    return pl.DataFrame({**given, **changes}, schema_overrides={"scores": pl.List(pl.Float64)})


def test_classes_are_compared_as_the_log_writes_them():
    shape = shape_of("binary", "log_loss", [False, True], True)
    assert (shape.classes, shape.positive) == (("false", "true"), "true")
    numbered = shape_of("binary", "log_loss", [0, 1], None)
    assert (numbered.classes, numbered.positive) == (("0", "1"), "1")


def test_the_loss_of_a_probability_is_that_of_the_class_that_came_true():
    shape = shape_of("binary", "log_loss", ["no", "yes"], "yes")
    harms = row_harms(binary(), shape)
    assert harms == pytest.approx([-math.log(0.8), -math.log(0.4), -math.log(0.9)], rel=1e-6)
    assert watched_answers(binary(), shape).tolist() == [0.8, 0.4, 0.1]


def test_the_positive_class_is_found_wherever_it_stands_among_the_scores():
    shape = shape_of("binary", "log_loss", ["yes", "no"], "yes")
    swapped = binary(scores=[[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
    assert scores_of(swapped, shape).tolist() == [0.8, 0.4, 0.1]
    assert row_harms(swapped, shape) == pytest.approx(
        [-math.log(0.8), -math.log(0.4), -math.log(0.9)], rel=1e-6
    )


def test_where_more_is_better_less_is_the_harm():
    shape = shape_of("binary", "log_loss", ["no", "yes"], "yes")
    assert row_harms(binary(), shape, "accuracy").tolist() == [-1.0, 0.0, -1.0]


def test_without_probabilities_nothing_is_made_up():
    shape = shape_of("binary", "log_loss", ["no", "yes"], "yes")
    silent = binary(scores=[None, None, None])
    assert row_harms(silent, shape) is None
    assert watched_answers(silent, shape).tolist() == [1.0, 0.0, 0.0]
    assert "accuracy" in measure_rows(silent, shape)
    assert "roc_auc" not in measure_rows(silent, shape)


def test_many_classes_keep_the_order_of_the_bundle():
    shape = shape_of("multiclass", "log_loss", ["a", "b", "c"], None)
    rows = pl.DataFrame(
        {
            "prediction": ["a", "c"],
            "outcome": ["a", "b"],
            "scores": [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]],
        }
    )
    assert row_harms(rows, shape) == pytest.approx([-math.log(0.7), -math.log(0.3)], rel=1e-6)
    assert watched_answers(rows, shape) == ["a", "c"]


def test_a_metric_that_is_no_mean_over_rows_has_no_harm_per_row():
    shape = shape_of("regression", "mae", None, None)
    rows = pl.DataFrame({"prediction": [1.0, 2.0], "outcome": [2.0, 2.0]})
    assert row_harms(rows, shape, "rmse") is None
    assert row_harms(rows, shape).tolist() == [1.0, 0.0]
