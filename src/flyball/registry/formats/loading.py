"""Bundles become predictors: every byte verified before a library sees it, foreign code in model processes only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import BadBundle, NeedsModelProcess
from flyball.core.project import Task
from flyball.registry.bundle import copy_files, read_file, read_folder_manifest
from flyball.registry.formats.answers import Answers, Predictor
from flyball.registry.formats.classes import answers_in
from flyball.registry.formats.frames import as_kind, with_categories
from flyball.registry.formats.predictors import FramePredictor, MatrixPredictor, Raw
from flyball.registry.manifest import SOURCE_FOLDER, BundleManifest, PredictorSpec, Signature

if TYPE_CHECKING:
    import polars as pl

Form = Literal["serving", "native"]


def load_predictor(
    folder: Path,
    manifest: BundleManifest | None = None,
    *,
    in_model_process: bool = False,
    form: Form = "serving",
) -> Predictor:
    """A bundle's model, ready to answer.

    form `serving`: the ONNX form where one was kept and is the quicker one; LightGBM answers from its own library, and
    from ONNX only where that is not installed. `native`: as it came out of training. Raises NeedsModelProcess for a
    model with code of its own or frames, unless `in_model_process`; CorruptBundle, UnsafeModel, UnsupportedModel.
    """
    manifest = manifest or read_folder_manifest(folder)
    if manifest.isolated and not in_model_process:
        what = "brings code of its own" if manifest.needs_process else "is asked with data frames"
        raise NeedsModelProcess(
            f"this version of {manifest.model} {what}; it is loaded in a model process only"
        )
    if manifest.needs_process:
        return _load_with_code(folder, manifest)
    if manifest.predictor.frames == "matrix":
        return _matrix_predictor(folder, manifest, form)
    estimator = _load_skops(folder, manifest)
    return FramePredictor(
        frame_asker(estimator, manifest.predictor, manifest.task, manifest.signature),
        manifest.signature.features,
        classes=manifest.signature.classes,
        form="skops",
        needs_process=False,
    )


def class_order(spec: PredictorSpec) -> list[int] | None:
    """The place of each class among the estimator's own, None where the order is the same. Raises BadBundle."""
    order = spec.options.get("class_order")
    if order is None:
        return None
    try:
        places = msgspec.convert(order, list[int])
    except msgspec.ValidationError as error:
        raise BadBundle(f"the bundle's order of classes is none: {error}") from error
    if sorted(places) != list(range(len(places))):
        raise BadBundle("the bundle's order of classes is none")
    return places


def frame_asker(estimator: Any, spec: PredictorSpec, task: Task, signature: Signature) -> Any:
    """What asks a scikit-learn estimator with the frames it was fitted on."""
    from flyball.registry.formats.sklearn import raw_answers

    names = [feature.name for feature in spec.features]
    order = class_order(spec)
    kind: Literal["polars", "pandas"] = "pandas" if spec.frames == "pandas" else "polars"

    def ask(frame: pl.DataFrame) -> Answers:
        given = as_kind(with_categories(frame.select(names), spec.features), kind)
        return answers_in(raw_answers(estimator, given, task), task, signature.classes, order)

    return ask


def native_raw(folder: Path, manifest: BundleManifest) -> Raw:
    """What gives the numbers of a model that takes a matrix, from its own file."""
    spec = manifest.predictor
    if spec.kind == "lightgbm":
        return _lightgbm(folder, manifest)
    if spec.kind == "xgboost":
        return _xgboost(folder, manifest)
    if spec.kind == "skops":
        from flyball.registry.formats.sklearn import raw_answers

        estimator = _load_skops(folder, manifest)
        return lambda matrix: raw_answers(estimator, matrix, manifest.task)
    raise BadBundle(f"a model of kind {spec.kind} is not asked with a matrix")


def _matrix_predictor(folder: Path, manifest: BundleManifest, form: Form) -> MatrixPredictor:
    raw, name = _choose(folder, manifest, form)
    return MatrixPredictor(
        raw,
        manifest.predictor.features,
        task=manifest.task,
        classes=manifest.signature.classes,
        order=class_order(manifest.predictor),
        form=name,
    )


def _choose(folder: Path, manifest: BundleManifest, form: Form) -> tuple[Raw, str]:
    kind = manifest.predictor.kind
    derived = next(iter(manifest.derived), None)
    if form == "serving" and derived is not None and (kind != "lightgbm" or not _has_lightgbm()):
        from flyball.registry.formats.onnx import OnnxModel

        return OnnxModel(read_file(folder, manifest, derived.path)).raw, "onnx"
    return native_raw(folder, manifest), kind


def _has_lightgbm() -> bool:
    from flyball.registry.formats.lightgbm_library import is_installed

    return is_installed()


def _lightgbm(folder: Path, manifest: BundleManifest) -> Raw:
    from flyball.registry.formats.lightgbm_library import LightGBMModel
    from flyball.registry.formats.lightgbm_text import read_text

    text = read_file(folder, manifest, manifest.predictor.path).decode()
    facts = read_text(text)
    if len(facts.feature_names) != len(manifest.predictor.features):
        raise BadBundle(
            f"the model takes {len(facts.feature_names)} features, the manifest names "
            f"{len(manifest.predictor.features)}"
        )
    return LightGBMModel(text, len(facts.feature_names)).raw


def _xgboost(folder: Path, manifest: BundleManifest) -> Raw:
    from flyball.registry.formats.xgboost_file import read_model
    from flyball.registry.formats.xgboost_library import XGBoostModel

    data = read_file(folder, manifest, manifest.predictor.path)
    facts = read_model(data)
    iterations = manifest.predictor.options.get("iterations", 0)
    if not isinstance(iterations, int) or not 0 <= iterations <= facts.round_count:
        raise BadBundle("the bundle's number of rounds is none")
    if facts.feature_count != len(manifest.predictor.features):
        raise BadBundle(
            f"the model takes {facts.feature_count} features, the manifest names {len(manifest.predictor.features)}"
        )
    return XGBoostModel(data, iterations).raw


def _load_skops(folder: Path, manifest: BundleManifest) -> Any:
    from flyball.registry.formats.sklearn import load_estimator

    return load_estimator(read_file(folder, manifest, manifest.predictor.path))


def _load_with_code(folder: Path, manifest: BundleManifest) -> FramePredictor:
    """Steps and custom classes, from verified copies that nobody else writes to."""
    from flyball.registry.formats.steps import StepChain

    copies = ScratchFolder("bundle")
    source = copies.path / SOURCE_FOLDER
    source.mkdir(mode=0o700)
    copy_files(folder, manifest, SOURCE_FOLDER, source)
    signature, spec = manifest.signature, manifest.predictor
    names = [feature.name for feature in signature.features]
    steps = StepChain(manifest.steps, names, signature.target, source) if manifest.steps else None
    return FramePredictor(
        _ask_behind_steps(folder, manifest, copies.path, source),
        signature.features,
        classes=signature.classes,
        form=spec.kind,
        needs_process=True,
        steps=steps,
        keep=copies,
    )


def _ask_behind_steps(folder: Path, manifest: BundleManifest, copies: Path, source: Path) -> Any:
    spec, signature = manifest.predictor, manifest.signature
    if spec.kind == "custom":
        from flyball.registry.formats.custom import load_custom

        model = copies / "model"
        model.mkdir(mode=0o700)
        copy_files(folder, manifest, spec.path, model)
        return custom_asker(load_custom(spec, model, source), spec, manifest.task, signature)
    if spec.frames != "matrix":
        return frame_asker(_load_skops(folder, manifest), spec, manifest.task, signature)
    # What the model was measured with: with steps before it, a second form would save nothing.
    return _matrix_predictor(folder, manifest, "native").predict_frame


def custom_asker(model: Any, spec: PredictorSpec, task: Task, signature: Signature) -> Any:
    """What asks a custom model with the frames that its `predict` takes."""
    from flyball.registry.formats.custom import ask_custom

    names = [feature.name for feature in spec.features]
    kind: Literal["polars", "pandas"] = "pandas" if spec.frames == "pandas" else "polars"

    def ask(frame: pl.DataFrame) -> Answers:
        given = as_kind(with_categories(frame.select(names), spec.features), kind)
        return ask_custom(model, given, task, signature.classes, signature.positive, frame.height)

    return ask
