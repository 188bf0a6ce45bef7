from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from flyball_tests_goldens import verify_golden

from flyball.core.errors import UnsafeModel, UnsupportedModel
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.lightgbm_text import read_text
from flyball.registry.formats.loading import load_predictor

SMALL = {"n_estimators": 30, "num_leaves": 15, "verbose": -1, "n_jobs": 1}


def test_a_regressor_answers_bit_equal_after_the_round_trip(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows)
    predictor = load_predictor(folder)
    expected = model.predict(rows.select(data.features)).tolist()
    assert predictor.form == "lightgbm"
    assert predictor.predict_frame(rows).predictions == expected
    assert predictor.predict_rows(rows.select(data.features).to_dicts()).predictions == expected
    assert [predictor.predict_rows([row]).predictions[0] for row in rows.head(50).to_dicts()] == expected[:50]
    assert (manifest.predictor.kind, manifest.isolated, manifest.signature.classes) == (
        "lightgbm",
        False,
        None,
    )
    assert predictor.predict_rows([]).predictions == []


def test_a_classifier_answers_with_the_targets_own_values_and_its_probabilities(
    pack_up: Any, data: Any
) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMClassifier(**SMALL).fit(rows.select(data.features), rows["late"].to_list())
    folder, manifest = pack_up(model, rows, task="binary", classes=["no", "yes"], positive="yes")
    answers = load_predictor(folder).predict_frame(rows)
    assert answers.scores == model.predict_proba(rows.select(data.features)).tolist()
    assert answers.predictions == model.predict(rows.select(data.features)).tolist()
    assert manifest.signature.classes == ("no", "yes")


def test_classes_are_those_of_the_target_in_its_order(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMClassifier(**SMALL).fit(rows.select(data.features), rows["late"].to_list())
    folder, _ = pack_up(model, rows, task="binary", classes=["yes", "no"])
    answers = load_predictor(folder).predict_frame(rows.head(40))
    straight = model.predict_proba(rows.head(40).select(data.features))
    assert answers.scores is not None
    assert np.allclose(answers.scores, straight[:, ::-1], atol=1e-15)
    assert answers.predictions == model.predict(rows.head(40).select(data.features)).tolist()


def test_many_classes_answer_with_one_score_each(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMClassifier(**SMALL).fit(rows.select(data.features), rows["band"].to_numpy())
    folder, manifest = pack_up(model, rows, task="multiclass", classes=[0, 1, 2])
    predictor = load_predictor(folder)
    answers = predictor.predict_frame(rows)
    assert answers.scores == model.predict_proba(rows.select(data.features)).tolist()
    assert answers.predictions == model.predict(rows.select(data.features)).tolist()
    one = predictor.predict_rows(rows.head(1).to_dicts())
    assert (one.predictions, one.scores) == (answers.predictions[:1], answers.scores[:1])
    assert manifest.derived[0].rows > 1000


def test_early_stopping_keeps_the_trees_that_answered(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    train = lgb.Dataset(
        rows.head(800).select(data.features).to_numpy().astype(float), rows["rentals"].to_numpy()[:800]
    )
    valid = lgb.Dataset(
        rows.tail(400).select(data.features).to_numpy().astype(float), rows["rentals"].to_numpy()[800:]
    )
    booster = lgb.train(
        {"objective": "regression", "verbose": -1, "learning_rate": 0.5, "num_threads": 1},
        train,
        200,
        valid_sets=[valid],
        callbacks=[lgb.early_stopping(5, verbose=False)],
    )
    assert 0 < booster.best_iteration < 200
    folder, _ = pack_up(booster, rows)
    matrix = rows.select(data.features).to_numpy().astype(float)
    assert load_predictor(folder).predict_frame(rows).predictions == booster.predict(matrix).tolist()


def test_a_booster_of_probabilities_gets_the_targets_classes(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    label = (rows["late"] == "yes").to_numpy().astype(int)
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1}, lgb.Dataset(matrix, label), 20
    )
    folder, _ = pack_up(booster, rows, task="binary", classes=["no", "yes"])
    answers = load_predictor(folder).predict_frame(rows)
    assert answers.scores is not None
    assert [score[1] for score in answers.scores] == booster.predict(matrix).tolist()
    assert set(answers.predictions) == {"no", "yes"}


@pytest.mark.parametrize("frames", ["pandas", "numpy"])
def test_categories_are_coded_as_training_coded_them(pack_up: Any, data: Any, frames: str) -> None:
    from flyball.registry.formats.frames import as_kind, with_categories
    from flyball.registry.formats.signatures import feature_specs

    contract = data.text_contract()
    rows = data.text_rows().select([*contract.features, "rentals"])
    given = as_kind(with_categories(rows.drop("rentals"), feature_specs(contract)), frames)
    options = {} if frames == "pandas" else {"categorical_feature": [4]}
    model = lgb.LGBMRegressor(**SMALL).fit(given, rows["rentals"].to_numpy(), **options)
    folder, _ = pack_up(model, rows, contract=contract, frames=frames)
    predictor = load_predictor(folder)
    assert predictor.predict_frame(rows).predictions == model.predict(given).tolist()
    assert predictor.predict_rows(rows.to_dicts()).predictions == model.predict(given).tolist()
    unseen, missing = ({**rows.row(0, named=True), "city": city} for city in ("Rom", None))
    assert predictor.predict_rows([unseen]) == predictor.predict_rows([missing])


def test_a_model_of_fewer_columns_in_another_order_is_asked_with_those(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    own = ["wind", "hour"]
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(own), rows["rentals"].to_numpy())
    folder, _ = pack_up(model, rows)
    predictor = load_predictor(folder)
    assert predictor.features == own
    assert predictor.predict_frame(rows).predictions == model.predict(rows.select(own)).tolist()


def test_columns_changed_inside_train_are_found_out(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    changed = rows.select(data.features).with_columns(pl.col("wind") * 3.6)
    model = lgb.LGBMRegressor(**SMALL).fit(changed, rows["rentals"].to_numpy())
    pack_up(model, rows)  # nothing to see here: the model itself answers as it is asked
    renamed = rows.select(data.features).rename({"wind": "gusts"})
    model = lgb.LGBMRegressor(**SMALL).fit(renamed, rows["rentals"].to_numpy())
    with pytest.raises(UnsupportedModel, match="gusts, which requests do not carry"):
        pack_up(model, rows)


@pytest.mark.parametrize(
    ("task", "objective", "label"), [("binary", "regression", "late"), ("regression", "binary", "late")]
)
def test_an_objective_that_does_not_fit_the_task_is_refused(
    pack_up: Any, data: Any, task: str, objective: str, label: str
) -> None:
    rows = data.numeric_rows()
    matrix = rows.select(data.features).to_numpy().astype(float)
    truth = (rows[label] == "yes").to_numpy().astype(int)
    booster = lgb.train(
        {"objective": objective, "verbose": -1, "num_threads": 1}, lgb.Dataset(matrix, truth), 3
    )
    with pytest.raises(UnsupportedModel, match=f"objective is '{objective}'"):
        pack_up(booster, rows, task=task, classes=["no", "yes"] if task == "binary" else None)


def test_an_estimator_that_is_not_fitted_is_told(pack_up: Any, data: Any) -> None:
    with pytest.raises(UnsupportedModel, match="not fitted"):
        pack_up(lgb.LGBMRegressor(), data.numeric_rows())


def test_labels_that_are_not_the_targets_are_refused(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMClassifier(**SMALL).fit(
        rows.select(data.features), (rows["late"] == "yes").to_numpy().astype(int)
    )
    with pytest.raises(UnsupportedModel, match="train on the target's own values"):
        pack_up(model, rows, task="binary", classes=["no", "yes"])


def test_packing_twice_gives_the_same_bundle(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    (first, _), (second, _) = pack_up(model, rows), pack_up(model, rows)
    assert (first / "bundle.json").read_bytes() == (second / "bundle.json").read_bytes()


def _text(data: Any) -> str:
    rows = data.numeric_rows(400)
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    text: str = model.booster_.model_to_string()
    return text


def _with(text: str, key: str, change: Any) -> str:
    """The text with the first tree's line of this key changed, and its size with it."""
    start = text.index("Tree=0")
    line_at = text.index(f"\n{key}=", start) + 1
    line = text[line_at : text.index("\n", line_at)]
    values = line.split("=")[1].split(" ")
    new = f"{key}=" + " ".join(change(values))
    changed = text[:line_at] + new + text[line_at + len(line) :]
    sizes = changed[changed.index("tree_sizes=") :].split("\n")[0]
    numbers = sizes.split("=")[1].split(" ")
    numbers[0] = str(int(numbers[0]) + len(new) - len(line))
    return changed.replace(sizes, "tree_sizes=" + " ".join(numbers), 1)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("left_child", lambda values: ["9999", *values[1:]]),
        ("right_child", lambda values: ["-9999", *values[1:]]),
        ("left_child", lambda values: ["0", *values[1:]]),
        ("split_feature", lambda values: ["4", *values[1:]]),
        ("split_feature", lambda values: ["-1", *values[1:]]),
        ("threshold", lambda values: values[1:]),
        ("leaf_value", lambda values: values[1:]),
        ("decision_type", lambda values: ["1", *values[1:]]),
        ("num_leaves", lambda values: ["2000000000"]),
        ("num_leaves", lambda values: ["-1"]),
        ("left_child", lambda values: ["1e3", *values[1:]]),
    ],
)
def test_a_text_that_points_outside_itself_is_not_given_to_the_library(
    data: Any, key: str, change: Any
) -> None:
    text = _text(data)
    assert read_text(text).tree_count == 30
    with pytest.raises(UnsafeModel):
        read_text(_with(text, key, change))


def test_sizes_that_do_not_lead_from_tree_to_tree_are_refused(data: Any) -> None:
    text = _text(data)
    sizes = text[text.index("tree_sizes=") :].split("\n")[0]
    numbers = sizes.split("=")[1].split(" ")
    for changed in (["99999999", *numbers[1:]], numbers[1:], [*numbers, "100"]):
        with pytest.raises(UnsafeModel):
            read_text(text.replace(sizes, "tree_sizes=" + " ".join(changed), 1))


@pytest.mark.parametrize(
    "text", ["", "tree\n", "\x80\x04K\x01.", "tree\nversion=v4\nTree=0\n", "end of trees"]
)
def test_what_is_no_model_text_is_refused(text: str) -> None:
    with pytest.raises(UnsafeModel):
        read_text(text)


def test_without_its_library_the_onnx_form_answers(
    pack_up: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flyball.registry.formats import lightgbm_library

    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows)
    native = load_predictor(folder).predict_frame(rows).predictions
    # As in an image that has onnxruntime alone.
    monkeypatch.setattr(lightgbm_library, "find_library", lambda *_: None)
    predictor = load_predictor(folder)
    assert predictor.form == "onnx"
    assert verify_golden(folder).passed
    difference = np.abs(np.array(predictor.predict_frame(rows).predictions) - np.array(native)).max()
    assert 0 < difference <= manifest.derived[0].tolerance


def test_golden_rows_lie_next_to_splits_and_are_real(pack_up: Any, data: Any) -> None:
    from flyball.registry.formats.package import _splits

    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows)
    import msgspec

    golden = msgspec.json.decode((folder / "golden.json").read_bytes())
    assert 32 <= len(golden["rows"]) <= 64
    place = golden["columns"].index("temp")
    known = set(rows["temp"].drop_nulls().to_list())
    assert {row[place] for row in golden["rows"]} - {None} <= known
    thresholds = np.array(_splits(folder, read_folder_manifest(folder))["temp"])
    values = np.array(sorted(known))
    near = {
        values[p] for t in thresholds for p in (np.searchsorted(values, t) - 1, np.searchsorted(values, t))
    }
    assert sum(row[place] in near for row in golden["rows"]) >= 8
    assert manifest.golden == "golden.json"


def test_the_first_rows_of_threads_do_not_mix(pack_up: Any, data: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, _ = pack_up(model, rows)
    predictor = load_predictor(folder)
    expected = model.predict(rows.select(data.features)).tolist()
    requests = rows.select(data.features).to_dicts()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: predictor.predict_rows([row]).predictions[0], requests))
    assert found == expected


def test_nothing_is_left_open_on_the_way(pack_up: Any, data: Any, tmp_path: Path) -> None:
    rows = data.numeric_rows()
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows)
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.json",
        "golden.json",
        "model.onnx",
        "model.txt",
    ]
    assert [file.path for file in manifest.files] == ["golden.json", "model.onnx", "model.txt"]
