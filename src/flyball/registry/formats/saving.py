"""Fitted estimators become files: what `train` returned, in the format of its kind, and never as a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from flyball.core.contract import Contract
from flyball.core.errors import BadAnswer, BadBundle, UnsupportedModel
from flyball.core.project import Task
from flyball.registry.bundle import list_files
from flyball.registry.formats import custom, lightgbm, xgboost
from flyball.registry.formats.answers import Predictor, check_answers
from flyball.registry.formats.checking import compare_with_live, run_rowwise
from flyball.registry.formats.classes import match_classes
from flyball.registry.formats.features import match_features
from flyball.registry.formats.frames import Kind, as_kind, matrix_of, with_categories, with_types
from flyball.registry.formats.libraries import installed_version
from flyball.registry.formats.loading import custom_asker, load_predictor
from flyball.registry.formats.onnx import ONNX_NAME, convert, describe_failure
from flyball.registry.formats.source import copy_source
from flyball.registry.formats.steps import StepSource
from flyball.registry.manifest import (
    BundleManifest,
    FeatureSpec,
    ModelKind,
    PredictorSpec,
    RefusedForm,
    Signature,
    StepSpec,
)

if TYPE_CHECKING:
    import polars as pl

SUPPORTED = (
    "LightGBM (Booster, LGBMClassifier, LGBMRegressor), XGBoost (Booster, XGBClassifier, XGBRegressor), scikit-learn "
    "estimators and pipelines, or an object of your own class with predict(rows), save(folder) and load(folder)"
)
SKOPS_NAME = "model.skops"
_LIBRARIES: dict[ModelKind, tuple[str, ...]] = {
    "lightgbm": ("lightgbm", "numpy"),
    "xgboost": ("xgboost-cpu", "xgboost", "numpy"),
    "skops": ("scikit-learn", "skops", "numpy", "scipy"),
    "custom": ("numpy", "polars"),
}


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: how the model is loaded and asked, its signature with classes, the steps before it.

    onnx: path of an ONNX form that has not been compared yet.
    """

    predictor: PredictorSpec
    signature: Signature
    steps: tuple[StepSpec, ...] = ()
    libraries: dict[str, str] = {}
    onnx: str | None = None
    refused_forms: tuple[RefusedForm, ...] = ()


def save_estimator(
    estimator: Any,
    folder: Path,
    *,
    task: Task,
    signature: Signature,
    sample: pl.DataFrame,
    frames: Kind = "polars",
    steps: Sequence[StepSource] = (),
    source: Path | None = None,
    source_files: Sequence[str] | None = None,
    step_features: Sequence[FeatureSpec] | None = None,
    with_onnx: bool = True,
) -> Saved:
    """Write an estimator into a new folder, and make sure that what is loaded from there answers as it does.

    sample: some rows of a request's columns (a few hundred are plenty). frames: what `train` and the steps received.
    steps: those with at = "both", in order; source: the project's folder, for steps and custom classes. step_features:
    what the steps give; the signature's features by default. with_onnx: try the ONNX form, too; a model of a
    cross-validation needs none. Raises UnsupportedModel, UnsafeModel, BadBundle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BadBundle(f"{folder.name} is not empty; a model is saved into a folder of its own")
    kind = kind_of(estimator)
    if (steps or kind == "custom") and source is None:
        raise BadBundle("steps and custom classes are packaged with the project's source, and none was given")
    specs = tuple(
        StepSpec(
            name=step.name,
            entry=step.entry,
            frames="pandas" if frames == "pandas" else "polars",
            params=step.params,
            seed=step.seed,
        )
        for step in steps
    )
    rows = with_types(sample, signature.features)
    if specs:
        assert source is not None
        rows = run_rowwise(specs, rows, signature, source)
    features = tuple(step_features) if step_features is not None else signature.features
    spec, signature = _save_model(estimator, folder, kind, rows, task, signature, features, frames, source)
    if source is not None and (specs or kind == "custom"):
        copy_source(source, folder, source_files)
    onnx: str | None = None
    refused: tuple[RefusedForm, ...] = ()
    if with_onnx and spec.frames == "matrix" and not specs and kind != "custom":
        onnx, refused = _try_onnx(estimator, folder, kind, len(spec.features))
    saved = Saved(
        predictor=spec,
        signature=signature,
        steps=specs,
        libraries=_libraries(kind),
        onnx=onnx,
        refused_forms=refused,
    )
    if kind != "custom":
        predictor = open_saved(folder, saved, task=task, skip_steps=True)
        compare_with_live(estimator, predictor, spec, signature, rows, task=task, frames=frames)
    return saved


def open_saved(folder: Path, saved: Saved, *, task: Task, skip_steps: bool = False) -> Predictor:
    """The predictor of a folder that `save_estimator` wrote, in this process; `skip_steps` asks the model alone.

    For the process that saved it, and others that may run the project's code.
    """
    draft = BundleManifest(
        model="draft",
        task=task,
        signature=saved.signature,
        predictor=saved.predictor,
        contract=Contract(),
        steps=() if skip_steps else saved.steps,
    )
    if skip_steps and saved.steps:
        draft = msgspec.structs.replace(
            draft, signature=msgspec.structs.replace(saved.signature, features=saved.predictor.features)
        )
    draft = msgspec.structs.replace(draft, files=list_files(folder))
    return load_predictor(folder, draft, in_model_process=True, form="native")


def kind_of(estimator: Any) -> ModelKind:
    """The format that an estimator is kept in. Raises UnsupportedModel, which lists what is supported."""
    own = type(estimator).__module__.split(".")[0]
    if own in ("lightgbm", "xgboost") and (hasattr(estimator, "predict")):
        return "lightgbm" if own == "lightgbm" else "xgboost"
    if own == "sklearn" and hasattr(estimator, "predict"):
        return "skops"
    if custom.is_custom(estimator):
        return "custom"
    parents = {parent.__module__.split(".")[0] for parent in type(estimator).__mro__}
    if "sklearn" in parents and hasattr(estimator, "predict"):
        return "skops"
    raise UnsupportedModel(
        f"train returned {type(estimator).__module__}.{type(estimator).__qualname__}, which can't be packaged. "
        f"Supported: {SUPPORTED}",
        type=f"{type(estimator).__module__}.{type(estimator).__qualname__}",
    )


def _save_model(
    estimator: Any,
    folder: Path,
    kind: ModelKind,
    rows: pl.DataFrame,
    task: Task,
    signature: Signature,
    features: tuple[FeatureSpec, ...],
    frames: Kind,
    source: Path | None,
) -> tuple[PredictorSpec, Signature]:
    if kind == "lightgbm":
        return lightgbm.save_lightgbm(estimator, folder, task=task, signature=signature, features=features)
    if kind == "xgboost":
        return xgboost.save_xgboost(estimator, folder, task=task, signature=signature, features=features)
    if kind == "custom":
        assert source is not None
        if task != "regression" and signature.classes is None:
            raise BadBundle("a custom classifier is packaged with the target's classes, and none were given")
        spec = custom.save_custom(estimator, folder, features, source, frames)
        _try_custom(estimator, spec, rows, task, signature)
        return spec, signature
    return _save_sklearn(estimator, folder, rows, task, signature, features, frames)


def _save_sklearn(
    estimator: Any,
    folder: Path,
    rows: pl.DataFrame,
    task: Task,
    signature: Signature,
    features: tuple[FeatureSpec, ...],
    frames: Kind,
) -> tuple[PredictorSpec, Signature]:
    from flyball.registry.formats.sklearn import dump_estimator, use_one_thread

    use_one_thread(estimator)
    width = getattr(estimator, "n_features_in_", None)
    own = getattr(estimator, "feature_names_in_", None)
    matched = match_features(None if own is None else [str(name) for name in own], features, count=width)
    options: dict[str, Any] = {}
    if task != "regression":
        classes = getattr(estimator, "classes_", None)
        count = len(classes) if classes is not None else 0
        labels, order = match_classes(classes, signature.classes, count=count, knows_labels=True)
        signature = msgspec.structs.replace(signature, classes=labels)
        if order is not None:
            options["class_order"] = order
    (folder / SKOPS_NAME).write_bytes(dump_estimator(estimator))
    asked: Literal["matrix", "polars", "pandas"] = "matrix"
    if frames != "numpy" and not _takes_matrix(estimator, rows, matched, frames, task):
        asked = frames
    return PredictorSpec(
        kind="skops", path=SKOPS_NAME, features=matched, frames=asked, options=options
    ), signature


def _takes_matrix(
    estimator: Any, rows: pl.DataFrame, features: tuple[FeatureSpec, ...], frames: Kind, task: Task
) -> bool:
    """Whether a matrix gets the same answers as the frame that it was fitted on; without text, it mostly does."""
    from flyball.registry.formats.sklearn import raw_answers

    if any(feature.type in ("string", "datetime") for feature in features):
        return False
    import numpy as np

    names = [feature.name for feature in features]
    try:
        by_frame = raw_answers(
            estimator, as_kind(with_categories(rows.select(names), features), frames), task
        )
        by_matrix = raw_answers(estimator, matrix_of(rows, features), task)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return False
    if by_frame.shape != by_matrix.shape or by_frame.dtype == object:
        return bool(np.array_equal(by_frame, by_matrix))
    # Linear algebra adds up in another order for a matrix that lies otherwise in memory.
    return bool(np.allclose(by_frame, by_matrix, rtol=1e-9, atol=1e-12))


def _try_custom(
    estimator: Any, spec: PredictorSpec, rows: pl.DataFrame, task: Task, signature: Signature
) -> None:
    try:
        answers = custom_asker(estimator, spec, task, signature)(rows)
        check_answers(answers, rows.height, signature.classes)
    except BadAnswer as error:
        raise UnsupportedModel(f"predict(rows) of {type(estimator).__name__}: {error.message}") from error


def _try_onnx(
    estimator: Any, folder: Path, kind: ModelKind, width: int
) -> tuple[str | None, tuple[RefusedForm, ...]]:
    try:
        model = lightgbm.booster_of(estimator) if kind == "lightgbm" else estimator
        model = xgboost.booster_of(estimator) if kind == "xgboost" else model
        data = convert(model, kind, width)
    except ImportError as error:
        return None, (RefusedForm(kind="onnx", because=f"{error.name} is not installed"),)
    except Exception as error:  # noqa: BLE001 - converters raise anything; the model itself is unharmed
        return None, (RefusedForm(kind="onnx", because=describe_failure(error)),)
    (folder / ONNX_NAME).write_bytes(data)
    return ONNX_NAME, ()


def _libraries(kind: ModelKind) -> dict[str, str]:
    import platform

    found = {name: installed_version(name) for name in _LIBRARIES[kind]}
    versions = {name: version for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), **versions}
