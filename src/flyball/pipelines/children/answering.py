"""A model's answers on a frame, in the form that metrics take: predictions decided by the project, scores as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UserCodeFailed
from flyball.core.project import Project
from flyball.core.records import label_text
from flyball.pipelines.project_explain import effective_threshold

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.registry.formats.answers import Answers


@dataclass(frozen=True)
class Held:
    """Rows with their truth and a model's answers. scores: binary (rows,), multiclass (rows, classes), else None."""

    truth: list[Any]
    prediction: list[Any]
    scores: NDArray[np.float64] | None
    classes: list[Any] | None
    positive: Any

    def watched(self) -> list[Any]:
        """What is watched of the answers: the number, the probability of the positive class, or the class as text.

        A binary model without probabilities is watched by 1.0 for the positive class and 0.0 for the other.
        """
        if self.classes is None:
            return [float(value) for value in self.prediction]
        if self.scores is not None and self.scores.ndim == 1:
            return [float(value) for value in self.scores]
        if self.positive is not None:
            return [float(label_text(value) == label_text(self.positive)) for value in self.prediction]
        return [label_text(value) for value in self.prediction]


def held_answers(
    answers: Answers, classes: Sequence[Any] | None, frame: pl.DataFrame, project: Project, positive: Any
) -> Held:
    """A model's answers beside the truth in a frame, classes decided by the project's threshold.

    Raises UserCodeFailed when they can't be used: another number of rows, values that are not finite.
    """
    import numpy as np

    truth = frame.get_column(project.model.target).to_list()
    if len(answers.predictions) != frame.height:
        raise UserCodeFailed(
            f"the model gave {len(answers.predictions)} answers for {frame.height} rows", rows=frame.height
        )
    if project.model.task == "regression":
        numbers = np.asarray(answers.predictions, dtype=np.float64)
        _refuse_bad(~np.isfinite(numbers), "no finite number")
        return Held(truth, numbers.tolist(), None, None, None)
    known = list(classes or [])
    if answers.scores is None:
        return Held(truth, list(answers.predictions), None, known, positive)
    scores = np.asarray(answers.scores, dtype=np.float64)
    _refuse_bad(~np.asarray(np.isfinite(scores).all(axis=1)), "without finite probabilities")
    if project.model.task == "multiclass":
        return Held(truth, list(answers.predictions), scores, known, None)
    place = [label_text(value) for value in known].index(label_text(positive))
    threshold = effective_threshold(project)
    assert threshold is not None
    decided = [
        known[place] if score >= threshold else known[1 - place] for score in scores[:, place].tolist()
    ]
    return Held(truth, decided, scores[:, place], known, known[place])


def _refuse_bad(bad: NDArray[np.bool_], what: str) -> None:
    count = int(bad.sum())
    if count:
        row = int(bad.argmax())
        raise UserCodeFailed(
            f"{count} of {bad.size} answers of the model are {what}, the first for row {row}; "
            "look for infinite features, or a learning rate that diverges",
            rows=count,
        )
