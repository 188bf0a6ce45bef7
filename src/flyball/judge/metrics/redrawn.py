"""Metrics of two classes on many resamples of the same rows: what takes long is done once, and then only counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flyball.judge.metrics.classification import Values, decision_metrics

Indices = NDArray[np.int64]


class Redrawn:
    """The rows of a binary model, ready to be drawn again and again.

    truth, said: 1.0 for the positive class; scores: its probability, None to leave ranking metrics out.
    """

    def __init__(self, truth: Values, said: Values, scores: Values | None) -> None:
        self._cell = (2 * truth + said).astype(np.int64)
        self._entry: Indices | None = None
        self._levels = 0
        if scores is not None:
            self._entry, self._levels = _entries(truth, scores)

    def values(self, rows: Indices) -> dict[str, float]:
        """The metrics that `classification.binary_metrics` gives for the drawn rows, to the last bit.

        Without those that are means over rows and the AUC, which have intervals of their own; undefined ones are left
        out.
        """
        counts = np.bincount(self._cell[rows], minlength=4).astype(np.float64)
        hits, positives = float(counts[3]), float(counts[2] + counts[3])
        found = decision_metrics(hits, positives, float(counts[1] + counts[3]), rows.size)
        if self._entry is not None and positives:
            found["average_precision"] = self._average_precision(self._entry[rows], positives)
        return {name: value for name, value in found.items() if value is not None}

    def _average_precision(self, entries: Indices, positives: float) -> float:
        drawn = np.bincount(entries, minlength=2 * self._levels)
        totals = drawn[: self._levels] + drawn[self._levels :]
        # Levels that were not drawn would add nothing but another order of adding up.
        kept = np.flatnonzero(totals)
        risen = drawn[self._levels :][kept].astype(np.float64)
        precision = np.cumsum(risen) / np.cumsum(totals[kept])
        return float((risen * precision).sum() / positives)


def _entries(truth: Values, scores: Values) -> tuple[Indices, int]:
    """Per row the place of its score among the distinct ones, highest first, and their number.

    Places of positive rows stand behind all others: counting entries counts both classes at each score.
    """
    order = np.argsort(-scores, kind="stable")
    is_new = np.diff(scores[order], prepend=np.inf) != 0
    places = np.empty(scores.size, dtype=np.int64)
    places[order] = np.cumsum(is_new) - 1
    count = int(is_new.sum())
    return places + count * truth.astype(np.int64), count
