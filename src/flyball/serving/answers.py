"""What a usable answer looks like; foreign code is believed nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flyball.serving.faults import ModelFault
from flyball.serving.frames import Reply

LONGEST_REASON = 500


def find_fault(reply: Reply, row_count: int, classes: Sequence[Any] | None) -> ModelFault | None:
    """What is wrong with a model process's reply; None when it can be passed on.

    classes: of a classifier, in the order of the scores; None for regression, whose predictions must be finite.
    """
    if reply.problem is not None:
        return ModelFault(reply.kind or "exception", reply.problem[:LONGEST_REASON])
    return find_wrong(reply.predictions, reply.scores, row_count, classes)


def find_wrong(
    predictions: list[Any] | None,
    scores: list[list[float]] | None,
    row_count: int,
    classes: Sequence[Any] | None,
) -> ModelFault | None:
    """What is wrong with predictions and scores: their number, their kind, a value that is not finite."""
    if predictions is None or len(predictions) != row_count:
        got = "none" if predictions is None else str(len(predictions))
        return ModelFault("shape", f"{got} predictions for {row_count} rows")
    for value in predictions:
        if isinstance(value, float) and not math.isfinite(value):
            return ModelFault("not_finite", f"a prediction is {value}")
        if classes is None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return ModelFault("shape", f"a prediction is no number but {type(value).__name__}")
        if classes is not None and value not in classes:
            return ModelFault("shape", f"a prediction is no class of the model: {str(value)[:80]!r}")
    return _find_wrong_scores(scores, row_count, classes)


def _find_wrong_scores(
    scores: list[list[float]] | None, row_count: int, classes: Sequence[Any] | None
) -> ModelFault | None:
    if scores is None:
        return None
    if len(scores) != row_count:
        return ModelFault("shape", f"scores of {len(scores)} rows for {row_count} rows")
    for row in scores:
        if classes is not None and len(row) != len(classes):
            return ModelFault("shape", f"{len(row)} scores for {len(classes)} classes")
        if not all(math.isfinite(value) for value in row):
            return ModelFault("not_finite", "a score is not finite")
    return None
