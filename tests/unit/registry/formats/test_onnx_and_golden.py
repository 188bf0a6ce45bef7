from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import polars as pl
import pytest
from flyball_tests_goldens import verify_golden
from sklearn.ensemble import RandomForestRegressor

from flyball.core.errors import BadBundle, CorruptBundle, UnsafeModel
from flyball.registry.bundle import BundleManifest, list_files, read_folder_manifest, seal
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.golden import check_golden, choose_rows
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.onnx import OnnxModel, compare, describe_failure

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")
SMALL = {"n_estimators": 20, "num_leaves": 15, "verbose": -1, "n_jobs": 1}


def _reseal(folder: Path, **changes: Any) -> BundleManifest:
    manifest = msgspec.structs.replace(read_folder_manifest(folder), **changes)
    return seal(folder, msgspec.structs.replace(manifest, files=list_files(folder)))


@pytest.fixture
def packed(pack_up: Any, data: Any) -> tuple[Path, BundleManifest]:
    rows = data.numeric_rows(400)
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, manifest = pack_up(model, rows)
    return folder, manifest


def test_a_form_that_disagrees_is_dropped_and_the_reason_kept(pack_up: Any, data: Any) -> None:
    # skl2onnx sends missing values to another side than the forest does, and does not say so.
    rows = data.numeric_rows()
    model = RandomForestRegressor(n_estimators=10, random_state=1).fit(
        rows.select(data.features), rows["rentals"]
    )
    folder, manifest = pack_up(model, rows)
    assert manifest.derived == ()
    assert "rows differ by up to" in manifest.refused_forms[0].because
    assert not (folder / "model.onnx").exists()
    assert load_predictor(folder).form == "skops"
    assert verify_golden(folder).passed


def test_values_that_32_bits_can_not_tell_apart_refuse_the_form(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows(600).with_columns(wind=1e9 + pl.int_range(600).cast(pl.Float64))
    truth = (np.arange(600) % 2) * 100.0
    model = lgb.LGBMRegressor(**{**SMALL, "min_child_samples": 1, "max_bin": 1000, "num_leaves": 255})
    model.set_params(n_estimators=5, min_data_in_bin=1).fit(rows.select(data.features), truth)
    folder, manifest = pack_up(model, rows)
    assert manifest.derived == ()
    assert "differ" in manifest.refused_forms[0].because
    assert (
        load_predictor(folder).predict_frame(rows).predictions
        == model.predict(rows.select(data.features)).tolist()
    )


def test_a_difference_is_recorded_beside_what_was_allowed(packed: tuple[Path, BundleManifest]) -> None:
    form = packed[1].derived[0]
    assert 0 < form.max_abs_difference < form.tolerance
    assert form.rows == 400 + len(msgspec.json.decode((packed[0] / "golden.json").read_bytes())["rows"])


@pytest.mark.parametrize(
    ("ours", "theirs", "task", "because"),
    [
        (Answers([100.0, 1.0]), Answers([100.0009, 1.0]), "regression", None),
        (Answers([100.0, 1.0]), Answers([100.002, 1.0]), "regression", "1 of 2 rows differ"),
        (Answers([1.0]), Answers([float("nan")]), "regression", "not finite"),
        (
            Answers(["a"], [[0.5000001, 0.4999999]]),
            Answers(["b"], [[0.4999999, 0.5000001]]),
            "binary",
            "1 of 1 labels",
        ),
        (Answers(["a"], [[0.6, 0.4]]), Answers(["a"], [[0.601, 0.399]]), "binary", "1 of 1 rows differ"),
        (Answers(["a"], [[0.6, 0.4]]), Answers(["a"], [[0.6, 0.3, 0.1]]), "binary", "scores of shape"),
        (Answers([]), Answers([]), "regression", None),
    ],
)
def test_forms_are_compared_in_the_size_of_the_answers(
    ours: Any, theirs: Any, task: Any, because: Any
) -> None:
    _, _, found = compare(ours, theirs, task)
    assert (found is None) if because is None else (found is not None and because in found)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"not a model", b"\x08\x07\x12\x00"])
def test_what_is_no_onnx_model_is_refused(content: bytes) -> None:
    with pytest.raises(UnsafeModel, match="onnxruntime refuses"):
        OnnxModel(content)


def test_reasons_name_no_addresses_and_no_paths() -> None:
    error = RuntimeError("object at 0x7fabc69e in /home/anna/model.py failed\nand more")
    assert describe_failure(error) == "it can't be converted: RuntimeError: object at … in … failed"


def test_answers_that_have_changed_are_found_before_serving(packed: tuple[Path, BundleManifest]) -> None:
    folder, _ = packed
    golden = msgspec.json.decode((folder / "golden.json").read_bytes())
    golden["predictions"][5] += 0.001
    (folder / "golden.json").write_bytes(msgspec.json.encode(golden))
    manifest = _reseal(folder)
    with pytest.raises(CorruptBundle, match=r"answers otherwise .*row 5.*lightgbm 4"):
        check_golden(load_predictor(folder), folder, manifest)
    verdict = verify_golden(folder)
    assert (verdict.outcome, "row 5" in verdict.because) == ("fail", True)


def test_labels_that_have_changed_are_found(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows(400)
    model = lgb.LGBMClassifier(**SMALL).fit(rows.select(data.features), rows["late"].to_list())
    folder, _ = pack_up(model, rows, task="binary", classes=["no", "yes"])
    golden = msgspec.json.decode((folder / "golden.json").read_bytes())
    golden["predictions"][3] = {"no": "yes", "yes": "no"}[golden["predictions"][3]]
    (folder / "golden.json").write_bytes(msgspec.json.encode(golden))
    _reseal(folder)
    assert "row 3" in verify_golden(folder).because


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":1,"columns":["a"],"rows":[1],"predictions":[]}'])
def test_a_golden_batch_that_is_none_is_told(packed: tuple[Path, BundleManifest], content: bytes) -> None:
    folder, _ = packed
    (folder / "golden.json").write_bytes(content)
    manifest = _reseal(folder)
    with pytest.raises(BadBundle, match="no golden batch"):
        check_golden(load_predictor(folder), folder, manifest)


def test_without_a_golden_batch_there_is_nothing_to_compare(packed: tuple[Path, BundleManifest]) -> None:
    folder, _ = packed
    (folder / "golden.json").unlink()
    manifest = _reseal(folder, golden=None)
    check_golden(load_predictor(folder), folder, manifest)
    assert verify_golden(folder).passed


def test_a_manifest_with_other_features_than_the_model_is_refused(
    packed: tuple[Path, BundleManifest],
) -> None:
    folder, manifest = packed
    fewer = msgspec.structs.replace(manifest.predictor, features=manifest.predictor.features[:2])
    _reseal(folder, predictor=fewer)
    with pytest.raises(BadBundle, match="takes 4 features, the manifest names 2"):
        load_predictor(folder)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], ["a", 0], 5, [1.5, 0], {}])
def test_an_order_of_classes_that_is_none_is_refused(pack_up: Any, data: Any, order: Any) -> None:
    rows = data.numeric_rows(200)
    model = lgb.LGBMClassifier(**SMALL).fit(rows.select(data.features), rows["late"].to_list())
    folder, manifest = pack_up(model, rows, task="binary", classes=["no", "yes"])
    _reseal(folder, predictor=msgspec.structs.replace(manifest.predictor, options={"class_order": order}))
    with pytest.raises(BadBundle, match="order of classes"):
        load_predictor(folder)


def test_a_bundle_of_no_rows_is_packed_without_a_batch(pack_up: Any, data: Any) -> None:
    rows = data.numeric_rows(100)
    model = lgb.LGBMRegressor(**SMALL).fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, _ = pack_up(model, rows.head(0))
    assert verify_golden(folder).passed


def test_rows_of_a_batch_are_spread_and_at_most_64() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3] * 500, "b": [0.5] * 1500, "c": ["x"] * 1500})
    chosen = choose_rows(frame, ["a", "b", "c"], {})
    assert len(chosen) == 64
    assert {row["a"] for row in chosen} == {1, 2, 3}
    assert len(choose_rows(frame.head(3), ["a", "b", "c"], {})) <= 64
    assert choose_rows(frame.head(0), ["a", "b", "c"], {}) == []
