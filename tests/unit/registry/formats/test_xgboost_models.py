from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from flyball.core.errors import UnsafeModel, UnsupportedModel
from flyball.registry.formats.frames import as_kind
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.xgboost_file import read_model
from flyball.registry.formats.xgboost_library import XGBoostModel

SMALL = {"n_estimators": 25, "max_depth": 4, "n_jobs": 1}


def test_a_regressor_answers_bit_equal_in_its_own_form(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    model = xgb.XGBRegressor(**SMALL).fit(matrix, rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows, frames="numpy")
    native = load_predictor(folder, form="native")
    expected = model.predict(matrix).astype(float).tolist()
    assert native.form == "xgboost"
    assert native.predict_frame(rows).predictions == expected
    assert [native.predict_rows([row]).predictions[0] for row in rows.head(20).to_dicts()] == expected[:20]
    assert manifest.predictor.kind == "xgboost"


def test_it_is_served_in_onnx_where_that_agreed(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = xgb.XGBRegressor(**SMALL).fit(
        as_kind(rows.select(data.features), "pandas"), rows["rentals"].to_numpy()
    )
    folder, manifest = pack_up(model, rows, frames="pandas")
    served = load_predictor(folder)
    assert served.form == "onnx"
    difference = np.abs(
        np.array(served.predict_frame(rows).predictions)
        - np.array(load_predictor(folder, form="native").predict_frame(rows).predictions)
    )
    assert difference.max() <= manifest.derived[0].tolerance
    assert manifest.derived[0].max_abs_difference <= manifest.derived[0].tolerance


@pytest.mark.parametrize(
    ("task", "column", "classes"), [("binary", "late", ["no", "yes"]), ("multiclass", "band", [0, 1, 2])]
)
def test_classifiers_answer_with_the_targets_values(
    pack_up: Any, data: Any, task: str, column: str, classes: list[Any]
) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    labels = np.array([classes.index(value) for value in rows[column].to_list()])
    model = xgb.XGBClassifier(**SMALL).fit(matrix, labels)
    folder, _ = pack_up(model, rows, task=task, classes=classes, frames="numpy")
    native = load_predictor(folder, form="native").predict_frame(rows)
    assert native.scores is not None
    probabilities = model.predict_proba(matrix).astype(float)
    assert np.allclose(native.scores, probabilities, atol=1e-7)
    assert native.predictions == [classes[place] for place in probabilities.argmax(axis=1)]
    served = load_predictor(folder).predict_frame(rows)
    assert served.predictions == native.predictions


def test_early_stopping_answers_with_the_best_rounds(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    truth = rows["rentals"].to_numpy()
    model = xgb.XGBRegressor(n_estimators=200, learning_rate=0.8, early_stopping_rounds=3, n_jobs=1)
    model.fit(matrix[:800], truth[:800], eval_set=[(matrix[800:], truth[800:])], verbose=False)
    folder, manifest = pack_up(model, rows, frames="numpy")
    assert manifest.predictor.options["iterations"] == model.best_iteration + 1 < 200
    native = load_predictor(folder, form="native").predict_frame(rows).predictions
    assert native == model.predict(matrix).astype(float).tolist()


def test_a_bare_booster_is_kept_like_its_wrapper(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    train = xgb.DMatrix(matrix, rows["rentals"].to_numpy())
    booster = xgb.train({"max_depth": 3, "nthread": 1}, train, 10)
    folder, _ = pack_up(booster, rows, frames="numpy")
    native = load_predictor(folder, form="native").predict_frame(rows).predictions
    assert native == booster.inplace_predict(matrix).astype(float).tolist()


def test_labels_in_place_of_probabilities_are_refused(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    train = xgb.DMatrix(matrix, rows["band"].to_numpy())
    booster = xgb.train({"objective": "multi:softmax", "num_class": 3, "nthread": 1}, train, 3)
    with pytest.raises(UnsupportedModel, match="multi:softprob"):
        pack_up(booster, rows, task="multiclass", classes=[0, 1, 2], frames="numpy")


def test_a_linear_booster_is_told_to_be_one(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows(200)
    matrix = rows.select(data.features).fill_null(0).to_numpy().astype(float)
    model = xgb.XGBRegressor(booster="gblinear", n_estimators=3).fit(matrix, rows["rentals"].to_numpy())
    with pytest.raises(UnsupportedModel, match="linear booster"):
        pack_up(model, rows, frames="numpy")


def test_an_estimator_that_is_not_fitted_is_told(pack_up: Any, data: Any) -> None:
    with pytest.raises(UnsupportedModel, match="not fitted"):
        pack_up(xgb.XGBRegressor(), data.numeric_rows())


def test_packing_twice_gives_the_same_bundle(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    model = xgb.XGBRegressor(**SMALL).fit(matrix, rows["rentals"].to_numpy())
    (first, _), (second, _) = (pack_up(model, rows, frames="numpy") for _ in range(2))
    assert (first / "bundle.json").read_bytes() == (second / "bundle.json").read_bytes()


@pytest.fixture(scope="module")
def model() -> bytes:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 3))
    booster = xgb.train({"max_depth": 3, "nthread": 1}, xgb.DMatrix(rows, rows[:, 0]), 2)
    return bytes(booster.save_raw("ubj"))


@pytest.mark.parametrize("parameters", [{}, {"booster": "dart"}, {"num_parallel_tree": 2}])
def test_every_kind_of_booster_is_read(parameters: Any) -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 3))
    booster = xgb.train({"max_depth": 3, "nthread": 1, **parameters}, xgb.DMatrix(rows, rows[:, 0]), 4)
    data = bytes(booster.save_raw("ubj"))
    facts = read_model(data)
    assert (facts.feature_count, facts.round_count) == (3, 4)
    assert (XGBoostModel(data).raw(rows) == booster.inplace_predict(rows)).all()


def test_split_values_are_those_of_the_library(model: bytes) -> None:
    booster = xgb.Booster()
    booster.load_model(bytearray(model))
    known = booster.trees_to_dataframe()
    facts = read_model(model)
    for place, values in facts.thresholds.items():
        assert sorted(values) == pytest.approx(sorted(known[known.Feature == f"f{place}"].Split), rel=1e-6)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\x80\x04K\x01.", b"binf", b"{L\x00\x00\x00", b"[" * 5000, b"S"]
)
def test_what_is_no_model_is_not_given_to_the_library(content: bytes) -> None:
    with pytest.raises(UnsafeModel):
        read_model(content)


def test_a_model_cut_short_anywhere_is_not_given_to_the_library(model: bytes) -> None:
    for end in range(0, len(model), 37):
        with pytest.raises(UnsafeModel):
            read_model(model[:end])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"left_children", b"\x7f\xff\xff\xff"),
        (b"left_children", b"\x00\x00\x00\x00"),
        (b"right_children", b"\x80\x00\x00\x00"),
        (b"split_indices", b"\x00\x00\x00\x03"),
        (b"split_indices", b"\xff\xff\xff\xff"),
    ],
)
def test_a_tree_that_points_outside_itself_is_not_given_to_the_library(
    model: bytes, name: bytes, value: bytes
) -> None:
    at = model.index(name) + len(name) + len(b"[$l#L") + 8
    assert model[at - 13 : at - 8] == b"[$l#L"
    with pytest.raises(UnsafeModel):
        read_model(model[:at] + value + model[at + 4 :])


def test_lengths_that_are_lies_are_not_followed(model: bytes) -> None:
    at = model.index(b"[$l#L") + 5
    with pytest.raises(UnsafeModel):
        read_model(model[:at] + b"\x00\x00\x0f\xff\xff\xff\xff\xff" + model[at + 8 :])
