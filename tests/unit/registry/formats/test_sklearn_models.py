from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from flyball_tests_goldens import verify_golden
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from flyball.core.errors import NeedsModelProcess, UnsafeModel, UnsupportedModel
from flyball.registry.formats import skops_archive
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.sklearn import dump_estimator, load_estimator

# Fitted with names and asked with a matrix in the same order, or stopped early on purpose; and skl2onnx's own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning"),
]


def _filled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("temp").fill_null(12.0))


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingRegressor(max_iter=20, random_state=1),
        RandomForestRegressor(n_estimators=5, random_state=1, n_jobs=2),
        GradientBoostingRegressor(n_estimators=8, random_state=1),
        BaggingRegressor(n_estimators=3, max_features=2, random_state=1),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(
            FunctionTransformer(np.arcsinh),
            MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, random_state=1),
        ),
        KNeighborsRegressor(),
        SVR(),
        make_pipeline(SimpleImputer(), lgb.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_regressor_answers_bit_equal_after_the_round_trip(pack_up: Any, data: Any, estimator: Any) -> None:
    rows = _filled(data.numeric_rows(400))
    matrix = np.ascontiguousarray(rows.select(data.features).to_numpy().astype(float))
    estimator.fit(matrix, rows["rentals"].to_numpy())
    folder, manifest = pack_up(estimator, rows, frames="numpy")
    native = load_predictor(folder, form="native")
    assert native.predict_frame(rows).predictions == estimator.predict(matrix).tolist()
    assert (manifest.predictor.kind, manifest.predictor.frames, manifest.isolated) == (
        "skops",
        "matrix",
        False,
    )
    served = load_predictor(folder)
    assert served.form == ("onnx" if manifest.derived else "skops")
    assert verify_golden(folder).passed
    assert bool(manifest.derived) != bool(manifest.refused_forms)


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=10, random_state=1),
        RandomForestClassifier(n_estimators=5, random_state=1),
        make_pipeline(StandardScaler(), LogisticRegression()),
        CalibratedClassifierCV(LogisticRegression(max_iter=500), cv=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_classifier_answers_with_text_classes(pack_up: Any, data: Any, estimator: Any) -> None:
    rows = _filled(data.numeric_rows(400))
    given = rows.select(data.features)
    estimator.fit(given, rows["late"].to_list())
    folder, manifest = pack_up(estimator, rows, task="binary", classes=["no", "yes"], positive="yes")
    answers = load_predictor(folder, form="native").predict_frame(rows)
    matrix = np.ascontiguousarray(given.to_numpy().astype(float))
    assert answers.scores == estimator.predict_proba(matrix).tolist()
    assert answers.predictions == estimator.predict(given).tolist()
    assert manifest.predictor.frames == "matrix"
    assert load_predictor(folder).predict_frame(rows).predictions == answers.predictions


def test_a_classifier_without_probabilities_answers_with_labels_alone(pack_up: Any, data: Any) -> None:
    rows = _filled(data.numeric_rows(300))
    model = LinearSVC().fit(rows.select(data.features), rows["band"].to_numpy())
    folder, manifest = pack_up(model, rows, task="multiclass", classes=[0, 1, 2])
    answers = load_predictor(folder, form="native").predict_frame(rows)
    assert answers.scores is None
    assert answers.predictions == model.predict(rows.select(data.features)).tolist()
    assert all(type(value) is int for value in answers.predictions)
    assert manifest.derived == ()


def _text_pipeline() -> Any:
    encode = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["hour", "temp", "wind"]),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    return make_pipeline(encode, LogisticRegression())


@pytest.mark.parametrize("frames", ["polars", "pandas"])
def test_a_pipeline_over_text_is_asked_with_the_frames_of_training(
    pack_up: Any, data: Any, frames: str
) -> None:
    from flyball.registry.formats.frames import as_kind, with_categories, with_types
    from flyball.registry.formats.signatures import feature_specs

    contract = data.text_contract()
    specs = feature_specs(contract)
    rows = data.text_rows(400)
    given = as_kind(with_categories(with_types(rows, specs), specs), frames)
    model = _text_pipeline().fit(given, rows["late"].to_list())
    folder, manifest = pack_up(
        model, rows, contract=contract, task="binary", classes=["no", "yes"], frames=frames
    )
    assert (manifest.predictor.frames, manifest.needs_frame, manifest.needs_process) == (frames, True, False)
    with pytest.raises(NeedsModelProcess, match="data frames"):
        load_predictor(folder)
    predictor = load_predictor(folder, in_model_process=True)
    answers = predictor.predict_frame(rows)
    assert answers.scores == model.predict_proba(given).tolist()
    requests = rows.select(list(contract.features)).to_dicts()
    assert predictor.predict_rows(requests) == answers
    assert [predictor.predict_rows([row]).predictions[0] for row in requests[:20]] == answers.predictions[:20]
    with pytest.raises(NeedsModelProcess):
        predictor.encode(requests)


def test_packing_the_same_estimator_again_gives_the_same_digest(pack_up: Any, data: Any) -> None:
    rows = _filled(data.numeric_rows(300))
    given = rows.select(data.features)

    def train() -> Any:
        return RandomForestRegressor(n_estimators=4, random_state=1).fit(given, rows["rentals"].to_numpy())

    (first, _), (second, _) = pack_up(train(), rows), pack_up(train(), rows)
    assert (first / "bundle.json").read_bytes() == (second / "bundle.json").read_bytes()


def test_a_class_of_ones_own_inside_is_refused_by_name(pack_up: Any, data: Any) -> None:
    class Doubling(RegressorMixin, BaseEstimator):
        def fit(self, rows: Any, _truth: Any) -> Any:
            self.n_features_in_ = rows.shape[1]
            return self

        def predict(self, rows: Any) -> Any:
            return np.zeros(len(rows))

    rows = _filled(data.numeric_rows(50))
    model = Doubling().fit(rows.select(data.features).to_numpy(), None)
    with pytest.raises(UnsupportedModel, match=r"Doubling.*not loaded again.*at = \"both\""):
        pack_up(model, rows, frames="numpy")


def test_what_is_no_estimator_is_refused_with_what_is_supported(pack_up: Any, data: Any) -> None:
    for thing in (None, 42, {"model": 1}, lambda rows: rows, np.zeros(3)):
        with pytest.raises(
            UnsupportedModel, match=r"Supported: LightGBM .*XGBoost.*scikit-learn.*predict\(rows\)"
        ):
            pack_up(thing, data.numeric_rows(50))


def _archive(estimator: Any) -> bytes:
    return dump_estimator(estimator)


def _rewrite(
    archive: bytes, *, schema: Any = None, compress: int = zipfile.ZIP_STORED, members: Any = None
) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(made, "w", compress) as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json" and schema is not None:
                document = json.loads(data)
                data = json.dumps(schema(document) or document).encode()
            if members is not None:
                data = members(name, data)
            target.writestr(name, data)
    return made.getvalue()


@pytest.fixture(scope="module")
def forest() -> Any:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 3))
    return RandomForestRegressor(n_estimators=3, random_state=1).fit(rows, rows[:, 0])


def test_an_archive_loads_what_it_was_made_of(forest: Any) -> None:
    rows = np.random.default_rng(2).normal(size=(50, 3))
    assert (load_estimator(_archive(forest)).predict(rows) == forest.predict(rows)).all()


def test_a_pickle_in_the_place_of_an_archive_is_not_loaded() -> None:
    bomb = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
    for data in (bomb, b"", b"PK\x03\x04", b"{}"):
        with pytest.raises(UnsafeModel, match="no skops archive"):
            load_estimator(data)


def test_an_array_of_objects_is_not_loaded(forest: Any) -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    archive = _rewrite(
        _archive(forest), members=lambda name, data: pickled.getvalue() if name.endswith(".npy") else data
    )
    with pytest.raises(UnsafeModel, match="Python objects"):
        load_estimator(archive)


def test_an_array_that_claims_more_than_it_holds_is_not_allocated(forest: Any) -> None:
    def inflate(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        made = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            made, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        )
        return made.getvalue() + b"\x00" * 8

    with pytest.raises(UnsafeModel, match="claims 1000000000000 values"):
        load_estimator(_rewrite(_archive(forest), members=inflate))


def test_a_compressed_archive_is_not_inflated(forest: Any) -> None:
    with pytest.raises(UnsafeModel, match="compressed"):
        load_estimator(_rewrite(_archive(forest), compress=zipfile.ZIP_DEFLATED))


def test_a_type_that_the_file_asks_for_is_not_trusted_because_it_asks(forest: Any) -> None:
    def poison(document: Any) -> None:
        document["content"]["content"]["hook"] = {
            "__class__": "abspath",
            "__module__": "posixpath",
            "__loader__": "FunctionNode",
            "content": "abspath",
            "__id__": 10**6,
        }

    with pytest.raises(UnsafeModel, match="posixpath"):
        load_estimator(_rewrite(_archive(forest), schema=poison))


@pytest.mark.parametrize("protocol", [0, 1, 3, -1, True, None, "2"])
def test_a_file_does_not_choose_an_older_reader(forest: Any, protocol: Any) -> None:
    def lower(document: Any) -> None:
        document["protocol"] = protocol

    with pytest.raises(UnsafeModel, match="protocol"):
        load_estimator(_rewrite(_archive(forest), schema=lower))


def _poison_trees(field: str, value: int) -> Any:
    """Changes one field of the first node of every tree in an archive."""

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        array = np.load(io.BytesIO(data))
        if array.dtype.names is None or field not in array.dtype.names:
            return data
        array[field][0] = value
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()

    return change


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left_child", 10**6),
        ("right_child", 10**6),
        ("left_child", 0),
        ("left_child", -7),
        ("feature", 3),
        ("feature", -1),
    ],
)
def test_a_tree_that_points_outside_itself_is_not_used(forest: Any, field: str, value: int) -> None:
    with pytest.raises(UnsafeModel, match="tree"):
        load_estimator(_rewrite(_archive(forest), members=_poison_trees(field, value)))


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 3)])
def test_a_histogram_tree_that_points_outside_itself_is_not_used(field: str, value: int) -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 3))
    model = HistGradientBoostingRegressor(max_iter=2).fit(rows, rows[:, 0])
    with pytest.raises(UnsafeModel, match="tree"):
        load_estimator(_rewrite(_archive(model), members=_poison_trees(field, value)))


def test_a_tree_of_more_features_than_rows_have_is_not_used() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 5))
    model = RandomForestRegressor(n_estimators=2, random_state=1).fit(rows, rows[:, 4])
    model.n_features_in_ = 2
    with pytest.raises(UnsafeModel, match="feature"):
        load_estimator(_archive(model))


def test_neighbours_and_support_vectors_are_held_against_their_bounds() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(100, 3))
    near = KNeighborsRegressor(algorithm="kd_tree").fit(rows, rows[:, 0])
    assert (load_estimator(_archive(near)).predict(rows) == near.predict(rows)).all()

    def lead_out(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        array = np.load(io.BytesIO(data))
        if array.dtype == np.int64 and array.shape == (100,):
            array[0] = 10**9
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()

    with pytest.raises(UnsafeModel, match="neighbour"):
        load_estimator(_rewrite(_archive(near), members=lead_out))
    machine = SVC().fit(rows, rows[:, 0] > 0)
    assert (load_estimator(_archive(machine)).predict(rows) == machine.predict(rows)).all()
    machine._n_support = np.array([5000, 5000], dtype=np.int32)
    with pytest.raises(UnsafeModel, match="support vector"):
        load_estimator(_archive(machine))


def test_a_lightgbm_text_inside_a_pipeline_is_checked_too() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 3))
    model = make_pipeline(StandardScaler(), lgb.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1)).fit(
        rows, rows[:, 0]
    )

    def lead_out(name: str, data: bytes) -> bytes:
        if name != "schema.json":
            return data
        text = data.decode()
        at = text.index("split_feature=") + len("split_feature=")
        return (text[:at] + "9" + text[at + 1 :]).encode()

    with pytest.raises(UnsafeModel):
        load_estimator(_rewrite(_archive(model), members=lead_out))


def test_what_normalise_writes_is_what_check_takes(forest: Any) -> None:
    import skops.io

    raw = skops.io.dumps(forest)
    once = skops_archive.normalise(raw)
    assert skops_archive.normalise(once) == once
    skops_archive.check(once)
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())


def test_a_hostile_bundle_is_refused_through_the_front_door(pack_up: Any, data: Any) -> None:
    import msgspec

    from flyball.registry.bundle import list_files, read_folder_manifest, seal

    rows = _filled(data.numeric_rows(200))
    model = Ridge().fit(rows.select(data.features), rows["rentals"].to_numpy())
    folder, _ = pack_up(model, rows)
    (folder / "model.skops").write_bytes(b"\x80\x04K\x01.")
    manifest = read_folder_manifest(folder)
    seal(folder, msgspec.structs.replace(manifest, files=list_files(folder)))
    verdict = verify_golden(folder)
    assert verdict.outcome == "fail" or load_predictor(folder).form == "onnx"
    with pytest.raises(UnsafeModel, match="no skops archive"):
        load_predictor(folder, form="native")
