"""What is asked of a model before it is kept: that its saved form answers as it does, and that its steps go by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsupportedModel
from flyball.core.project import Task
from flyball.registry.formats.answers import Answers, Predictor
from flyball.registry.formats.classes import answers_in
from flyball.registry.formats.frames import Kind, as_kind, matrix_of, with_categories
from flyball.registry.formats.loading import class_order
from flyball.registry.formats.predictors import never_alone
from flyball.registry.formats.steps import StepChain
from flyball.registry.manifest import PredictorSpec, Signature, StepSpec

if TYPE_CHECKING:
    import polars as pl

_ROWS_STEPPED_SINGLY = 16


def run_rowwise(
    specs: tuple[StepSpec, ...], rows: pl.DataFrame, signature: Signature, source: Path
) -> pl.DataFrame:
    """The rows behind the steps. Raises UnsupportedModel when a row alone comes out other than among others."""
    import polars as pl

    chain = StepChain(specs, [feature.name for feature in signature.features], signature.target, source)
    few = rows.head(_ROWS_STEPPED_SINGLY)
    try:
        together = chain.run(few)
        singly = [chain.run(never_alone(few.slice(row, 1))).head(1) for row in range(few.height)]
        apart = pl.concat(singly, how="vertical_relaxed") if singly else together
    except Exception as error:
        # The project's own code: whatever it raises on a request's columns, it would raise in serving.
        raise UnsupportedModel(
            f"the steps {', '.join(step.name for step in specs)} do not run on a request's columns "
            f"({', '.join(rows.columns[:12])}): {type(error).__name__}: {error}"
        ) from error
    if not _close(together, apart.cast(dict(together.schema), strict=False)):  # type: ignore[arg-type]  # polars takes a dict of types
        raise UnsupportedModel(
            f"the steps {', '.join(step.name for step in specs)} give a row other values when it comes alone: a step "
            'with at = "both" sees requests, so it may look at its own row only. Use at = "train", or learn what it '
            "needs in train"
        )
    return chain.run(rows)


def _close(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Equal values, up to the last digits of fractions."""
    import numpy as np

    for ours, theirs in zip(left.get_columns(), right.get_columns(), strict=True):
        if ours.dtype.is_float():
            one, other = ours.fill_null(np.nan).to_numpy(), theirs.fill_null(np.nan).to_numpy()
            if not np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True):
                return False
        elif not ours.equals(theirs, null_equal=True):
            return False
    return True


def compare_with_live(
    estimator: Any,
    predictor: Predictor,
    spec: PredictorSpec,
    signature: Signature,
    rows: pl.DataFrame,
    *,
    task: Task,
    frames: Kind,
) -> None:
    """Raises UnsupportedModel if the saved model answers other than the one in memory, asked as training asked it."""
    if rows.height == 0:
        return
    names = [feature.name for feature in spec.features]
    given = as_kind(with_categories(rows.select(names), spec.features), frames)
    live = _ask_live(estimator, given, spec, signature, task)
    if live is None and spec.frames == "matrix":
        live = _ask_live(estimator, matrix_of(rows, spec.features), spec, signature, task)
    if live is None:
        raise UnsupportedModel("the estimator can't be asked with the columns that it was fitted on")
    found = predictor.predict_frame(rows)
    tolerance = 1e-6 if spec.kind == "xgboost" else 1e-9
    row = _first_difference(live, found, tolerance)
    if row is not None:
        raise UnsupportedModel(
            f"row {row} of the sample: the estimator answers {live.predictions[row]!r}, its saved form "
            f"{found.predictions[row]!r}. Columns were changed inside train (renamed, encoded, reordered), which "
            'requests do not undergo: move that into a step with at = "both", or into a pipeline',
            row=row,
        )


def _ask_live(
    estimator: Any, given: Any, spec: PredictorSpec, signature: Signature, task: Task
) -> Answers | None:
    import numpy as np

    from flyball.registry.formats.sklearn import raw_answers

    try:
        if hasattr(estimator, "fit"):
            raw = raw_answers(estimator, given, task)
        elif spec.kind == "lightgbm":
            raw = np.asarray(estimator.predict(given, num_threads=1))
        else:
            raw = np.asarray(estimator.inplace_predict(given), dtype=np.float64)
    except Exception:  # noqa: BLE001 - libraries raise anything for a form of rows that they do not take
        return None
    return answers_in(raw, task, signature.classes, class_order(spec))


def _first_difference(live: Answers, found: Answers, tolerance: float) -> int | None:
    import numpy as np

    if live.scores is None or found.scores is None:
        ours, theirs = live.predictions, found.predictions
        if not all(isinstance(value, float) for value in ours):
            return next((row for row, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)
        left, right = np.asarray(ours)[:, None], np.asarray(theirs)[:, None]
    else:
        left, right = np.asarray(live.scores), np.asarray(found.scores)
    allowed = tolerance * max(1.0, float(np.abs(left).max(initial=0.0)))
    bad = (np.abs(left - right) > allowed).any(axis=1)
    return int(bad.argmax()) if bad.any() else None
