"""What every model answers with, whatever it is made of, and what makes an answer unusable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from flyball.core.errors import BadAnswer
from flyball.core.project import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Labels = tuple[bool | int | str, ...]


class Answers(msgspec.Struct, frozen=True):
    """One prediction per row: a number, or a class in the target's own values.

    scores: one probability per class and row, in the order of the classes; None for regression, and for classifiers
    that give none.
    """

    predictions: list[Any]
    scores: list[list[float]] | None = None


class Predictor(Protocol):
    """A loaded model. One thread, no state between calls; `predict` and `predict_rows` may be called from many."""

    features: list[str]
    classes: list[bool | int | str] | None
    needs_frame: bool
    needs_process: bool
    form: str

    def predict(self, matrix: NDArray[np.float64]) -> Answers:
        """Answers for a C-contiguous matrix (rows, features). Raises NeedsModelProcess if frames are needed."""

    def encode(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """Rows as the matrix that `predict` takes; what is absent or of a wrong type is missing (NaN)."""

    def predict_rows(self, rows: Sequence[dict[str, Any]]) -> Answers:
        """Answers for rows as requests carry them."""

    def predict_frame(self, frame: pl.DataFrame) -> Answers:
        """Answers for a frame that has at least the features' columns."""


def answers_from(raw: NDArray[Any], task: Task, classes: Labels | None) -> Answers:
    """Answers made of a model's numbers.

    raw: regression (rows,); binary (rows,) with the probability of the second class, or (rows, 2); multiclass (rows,
    classes). The predicted class is the most probable one, the first of equals.
    """
    if task == "regression":
        return Answers(raw.reshape(-1).tolist())
    assert classes is not None
    if raw.ndim == 1 or raw.shape[1] == 1:
        first, second = classes
        second_scores: list[float] = raw.reshape(-1).tolist()
        return Answers(
            [second if score > 0.5 else first for score in second_scores],
            [[1.0 - score, score] for score in second_scores],
        )
    return Answers([classes[place] for place in raw.argmax(axis=1).tolist()], raw.tolist())


def check_answers(answers: Answers, row_count: int, classes: Sequence[Any] | None) -> None:
    """Raises BadAnswer for another number of rows, a value that is not finite, or an unknown class."""
    if len(answers.predictions) != row_count:
        raise BadAnswer(f"the model gave {len(answers.predictions)} answers for {row_count} rows")
    for row, value in enumerate(answers.predictions):
        if classes is None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise BadAnswer(f"the answer for row {row} is {str(value)[:80]!r}, no finite number", row=row)
        elif value not in classes:
            raise BadAnswer(
                f"the answer for row {row} is {str(value)[:80]!r}, no class of the model", row=row
            )
    for row, scores in enumerate(answers.scores or []):
        if classes is not None and len(scores) != len(classes):
            raise BadAnswer(f"row {row} has {len(scores)} scores for {len(classes)} classes", row=row)
        if not all(math.isfinite(score) for score in scores):
            raise BadAnswer(f"a score of row {row} is not finite", row=row)
    if answers.scores is not None and len(answers.scores) != row_count:
        raise BadAnswer(f"the model gave scores for {len(answers.scores)} of {row_count} rows")
