"""Loaded models behind one face: those asked with a matrix of numbers, and those asked with data frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import NeedsModelProcess
from flyball.core.project import Task
from flyball.registry.formats.answers import Answers, Labels
from flyball.registry.formats.classes import answers_in
from flyball.registry.formats.encoding import RowEncoder
from flyball.registry.formats.frames import matrix_of, rows_to_frame, with_types
from flyball.registry.manifest import FeatureSpec

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.registry.formats.steps import StepChain

Raw = Callable[["NDArray[np.float64]"], "NDArray[Any]"]
AskFrame = Callable[["pl.DataFrame"], Answers]


class MatrixPredictor:
    """A model that takes numbers. `features` are in the order in which it takes them."""

    needs_frame = False
    needs_process = False

    def __init__(
        self,
        raw: Raw,
        features: Sequence[FeatureSpec],
        *,
        task: Task,
        classes: Labels | None,
        order: list[int] | None,
        form: str,
    ) -> None:
        self.features = [feature.name for feature in features]
        self.classes = None if classes is None else list(classes)
        self.form = form
        self._raw = raw
        self._specs = tuple(features)
        self._encoder = RowEncoder(features)
        self._task = task
        self._labels = classes
        self._order = order

    def predict(self, matrix: NDArray[np.float64]) -> Answers:
        """Answers for a C-contiguous float64 matrix (rows, features)."""
        return answers_in(self._raw(matrix), self._task, self._labels, self._order)

    def encode(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """Rows as the matrix that `predict` takes."""
        return self._encoder.encode(rows)

    def predict_rows(self, rows: Sequence[dict[str, Any]]) -> Answers:
        """Answers for rows as requests carry them."""
        return self.predict(self._encoder.encode(rows)) if rows else self._nothing()

    def predict_frame(self, frame: pl.DataFrame) -> Answers:
        """Answers for a frame that has the features' columns."""
        return self.predict(matrix_of(frame, self._specs)) if frame.height else self._nothing()

    def with_raw(self, raw: Raw, form: str) -> MatrixPredictor:
        """The same model in another form. Forms that are asked here give classes in the estimator's order, too."""
        return MatrixPredictor(
            raw, self._specs, task=self._task, classes=self._labels, order=self._order, form=form
        )

    def _nothing(self) -> Answers:
        return Answers([], None if self.classes is None else [])


class FramePredictor:
    """A model that is asked with frames: typed columns, as training had them. Lives in a model process."""

    needs_frame = True

    def __init__(
        self,
        ask: AskFrame,
        features: Sequence[FeatureSpec],
        *,
        classes: Labels | None,
        form: str,
        needs_process: bool,
        steps: StepChain | None = None,
        keep: ScratchFolder | None = None,
    ) -> None:
        """`steps` run before the model. `keep`: the folder that its code and files are in, as long as it lives."""
        self.features = [feature.name for feature in features]
        self.classes = None if classes is None else list(classes)
        self.form = form
        self.needs_process = needs_process
        self._ask = ask
        self._specs = tuple(features)
        self._steps = steps
        self._keep = keep

    def predict(self, matrix: NDArray[np.float64]) -> Answers:
        """Not for this model: raises NeedsModelProcess."""
        raise NeedsModelProcess(
            "this model is asked with data frames, in a model process, and not with a matrix"
        )

    def encode(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """Not for this model: raises NeedsModelProcess."""
        raise NeedsModelProcess(
            "this model is asked with data frames, in a model process, and not with a matrix"
        )

    def predict_rows(self, rows: Sequence[dict[str, Any]]) -> Answers:
        """Answers for rows as requests carry them."""
        return self._answer(rows_to_frame(rows, self._specs))

    def predict_frame(self, frame: pl.DataFrame) -> Answers:
        """Answers for a frame with the features' columns."""
        return self._answer(with_types(frame, self._specs))

    def _answer(self, typed: pl.DataFrame) -> Answers:
        if typed.height == 0:
            return Answers([], None if self.classes is None else [])
        count, typed = typed.height, never_alone(typed)
        answers = self._ask(typed if self._steps is None else self._steps.run(typed))
        if typed.height == count:
            return answers
        return Answers(
            answers.predictions[:count], None if answers.scores is None else answers.scores[:count]
        )


def never_alone(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame; a single row is there twice.

    polars computes a column of one row by other means than a longer one (x / 10 as a division, not as a product), and
    the last digit differs. A request must be answered exactly as evaluation answered the same row among others.
    """
    return frame if frame.height != 1 else frame.vstack(frame).rechunk()
