"""Permutation importance, on data where it is known what the model rests on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flyball.pipelines.children import importance
from flyball.pipelines.children.importance import permutation_importance

ROWS = 3_000


def rows(seed: int = 1, count: int = ROWS) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, count))
    return pl.DataFrame(
        {"a": a, "b": b, "unused": noise, "colour": rng.choice(["red", "blue"], count), "y": 3 * a + b}
    )


FEATURES = ["a", "b", "unused", "colour"]


def linear(frame: pl.DataFrame) -> np.ndarray:
    return (3 * frame["a"] + frame["b"]).to_numpy()


def squared(frame: pl.DataFrame, answers: np.ndarray) -> np.ndarray:
    return (frame["y"].to_numpy() - answers) ** 2


def test_the_importance_in_a_linear_model_is_twice_its_squared_weight_times_the_variance():
    found = permutation_importance(linear, squared, rows(), FEATURES, seed=1)
    # E (w x - w x')^2 = 2 w^2 var(x) for a shuffled x', and the model is exact.
    assert found["a"] == pytest.approx(18.0, rel=0.08)
    assert found["b"] == pytest.approx(2.0, rel=0.08)
    assert found["unused"] == found["colour"] == 0.0
    assert list(found) == FEATURES


def test_a_feature_that_only_disturbs_has_a_negative_importance():
    def disturbed(frame: pl.DataFrame) -> np.ndarray:
        return linear(frame) - frame["a"].to_numpy() * 4

    assert permutation_importance(disturbed, squared, rows(), FEATURES, seed=1)["a"] < -5


def test_a_text_that_decides_is_found_among_numbers():
    frame = rows().with_columns(y=pl.col("colour").eq("red").cast(pl.Float64))
    found = permutation_importance(
        lambda part: part["colour"].eq("red").cast(pl.Float64).to_numpy(), squared, frame, FEATURES, seed=1
    )
    assert found["colour"] == pytest.approx(0.5, abs=0.05)
    assert found["a"] == 0.0


def test_two_models_are_shuffled_alike_whatever_else_they_take():
    one = permutation_importance(linear, squared, rows(), FEATURES, seed=4)
    fewer = permutation_importance(linear, squared, rows(), ["b", "a"], seed=4)
    assert (fewer["a"], fewer["b"]) == (one["a"], one["b"])
    assert permutation_importance(linear, squared, rows(), FEATURES, seed=5) != one


def test_the_model_gets_features_alone_and_few_rows_in_few_calls(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def noted(frame: pl.DataFrame) -> np.ndarray:
        asked.append((frame.columns, frame.height))
        return linear(frame)

    whole = permutation_importance(noted, squared, rows(), FEATURES, seed=1, most_rows=500, repeats=2)
    assert asked == [(FEATURES, (1 + 4 * 2) * 500)]
    monkeypatch.setattr(importance, "ROWS_PER_CALL", 2_000)
    assert (
        permutation_importance(linear, squared, rows(), FEATURES, seed=1, most_rows=500, repeats=2) == whole
    )


def test_without_rows_or_features_there_is_nothing_to_tell():
    assert permutation_importance(linear, squared, rows(count=0), FEATURES, seed=1) == {}
    assert permutation_importance(linear, squared, rows(), [], seed=1) == {}


def test_missing_values_are_shuffled_like_others():
    frame = rows().with_columns(a=pl.when(pl.col("a") > 1).then(None).otherwise(pl.col("a")))

    def filled(part: pl.DataFrame) -> np.ndarray:
        return (3 * part["a"].fill_null(1.5) + part["b"]).to_numpy()

    found = permutation_importance(filled, squared, frame, FEATURES, seed=1)
    assert found["a"] > 5 * found["b"] > 0
