"""From what was saved to a sealed bundle: golden batch, the ONNX form where it agrees, the monitor's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.digests import canonical_json
from flyball.core.errors import BadBundle
from flyball.core.project import Task
from flyball.registry.bundle import list_files, seal
from flyball.registry.formats.answers import Answers, Predictor, check_answers
from flyball.registry.formats.frames import Kind, rows_to_frame, with_types
from flyball.registry.formats.golden import choose_rows, golden_batch
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.onnx import compare
from flyball.registry.formats.predictors import MatrixPredictor
from flyball.registry.formats.saving import Saved, save_estimator
from flyball.registry.manifest import (
    GOLDEN_NAME,
    REFERENCE_NAME,
    BundleManifest,
    DerivedForm,
    RefusedForm,
    Signature,
)

if TYPE_CHECKING:
    import polars as pl

MOST_COMPARED = 2_000


def package(
    estimator: Any,
    folder: Path,
    *,
    model: str,
    task: Task,
    signature: Signature,
    contract: Contract,
    rows: pl.DataFrame,
    reference: Mapping[str, Any] | None = None,
    frames: Kind = "polars",
    **options: Any,
) -> BundleManifest:
    """A sealed bundle of an estimator in memory: `save_estimator` and `finish` in one.

    options: as of `save_estimator` (steps, source, source_files, step_features).
    """
    saved = save_estimator(
        estimator,
        folder,
        task=task,
        signature=signature,
        sample=rows.head(MOST_COMPARED),
        frames=frames,
        **options,
    )
    return finish(folder, saved, model=model, task=task, contract=contract, rows=rows, reference=reference)


def finish(
    folder: Path,
    saved: Saved,
    *,
    model: str,
    task: Task,
    contract: Contract,
    rows: pl.DataFrame,
    reference: Mapping[str, Any] | None = None,
) -> BundleManifest:
    """Complete and seal the bundle in a folder that `save_estimator` wrote.

    rows: held-out rows with a request's columns; up to 2,000 are compared, up to 64 kept with their answers. Runs the
    model, with its code where it brings some. Raises BadBundle when rows are answered other than frames, BadAnswer.
    """
    draft = BundleManifest(
        model=model,
        task=task,
        signature=saved.signature,
        predictor=saved.predictor,
        contract=contract,
        steps=saved.steps,
        refused_forms=saved.refused_forms,
        libraries=saved.libraries,
    )
    if reference is not None:
        (folder / REFERENCE_NAME).write_bytes(canonical_json(reference))
        draft = msgspec.structs.replace(draft, reference=REFERENCE_NAME)
    draft = _with_files(draft, folder)
    predictor = load_predictor(folder, draft, in_model_process=True, form="native")
    names = [feature.name for feature in saved.signature.features]
    typed = with_types(rows.head(MOST_COMPARED), saved.signature.features)
    chosen = choose_rows(typed, names, _splits(folder, draft))
    answers = predictor.predict_rows(chosen)
    check_answers(answers, len(chosen), predictor.classes)
    _agree_by_frame(predictor, chosen, saved.signature, answers)
    (folder / GOLDEN_NAME).write_bytes(canonical_json(golden_batch(chosen, names, answers)))
    draft = msgspec.structs.replace(draft, golden=GOLDEN_NAME)
    if saved.onnx is not None:
        draft = _with_onnx(draft, folder, saved.onnx, predictor, typed, chosen)
    return seal(folder, draft)


def _with_files(draft: BundleManifest, folder: Path) -> BundleManifest:
    return msgspec.structs.replace(draft, files=list_files(folder))


def _agree_by_frame(
    predictor: Predictor, rows: Sequence[dict[str, Any]], signature: Signature, answers: Answers
) -> None:
    """A version is measured on frames and asked with rows; what was measured must be what is served."""
    by_frame = predictor.predict_frame(rows_to_frame(rows, signature.features))
    if by_frame != answers:
        row = next(
            (
                n
                for n, pair in enumerate(zip(by_frame.predictions, answers.predictions, strict=True))
                if pair[0] != pair[1]
            ),
            0,
        )
        raise BadBundle(
            f"golden row {row} is answered with {answers.predictions[row]!r} as a request and with "
            f"{by_frame.predictions[row]!r} as a frame; is the model random, or does it look at other rows?",
            row=row,
        )


def _with_onnx(
    draft: BundleManifest,
    folder: Path,
    path: str,
    predictor: Predictor,
    rows: pl.DataFrame,
    chosen: Sequence[dict[str, Any]],
) -> BundleManifest:
    """The draft with its ONNX form if that agrees on every row; without, and why, if it does not."""
    from flyball.registry.formats.onnx import OnnxModel, describe_failure

    assert isinstance(predictor, MatrixPredictor)
    try:
        model = OnnxModel((folder / path).read_bytes())
        second = predictor.with_raw(model.raw, "onnx")
        frames = (rows, rows_to_frame(chosen, draft.signature.features))
        pairs = [(predictor.predict_frame(frame), second.predict_frame(frame)) for frame in frames]
    except Exception as error:  # noqa: BLE001 - a form that can't be asked is not kept; the model itself is unharmed
        return _refuse(draft, folder, path, describe_failure(error))
    worst, tolerance = 0.0, 0.0
    for ours, theirs in pairs:
        difference, allowed, because = compare(ours, theirs, draft.task)
        if because is not None:
            return _refuse(draft, folder, path, because)
        worst, tolerance = max(worst, difference), max(tolerance, allowed)
    form = DerivedForm(
        kind="onnx", path=path, max_abs_difference=worst, tolerance=tolerance, rows=rows.height + len(chosen)
    )
    return msgspec.structs.replace(draft, derived=(form,))


def _refuse(draft: BundleManifest, folder: Path, path: str, because: str) -> BundleManifest:
    (folder / path).unlink(missing_ok=True)
    refused = (*draft.refused_forms, RefusedForm(kind="onnx", because=because))
    return msgspec.structs.replace(draft, refused_forms=refused)


def _splits(folder: Path, draft: BundleManifest) -> dict[str, list[float]]:
    """Split values by feature name, of models that tell them cheaply."""
    path = folder / draft.predictor.path
    if draft.predictor.kind == "lightgbm":
        from flyball.registry.formats.lightgbm_text import read_text

        thresholds = read_text(path.read_text(encoding="utf-8")).thresholds
    elif draft.predictor.kind == "xgboost":
        from flyball.registry.formats.xgboost_file import read_model

        thresholds = read_model(path.read_bytes()).thresholds
    else:
        return {}
    names = [feature.name for feature in draft.predictor.features]
    return {names[place]: values for place, values in thresholds.items()}
