"""Permutation importance: by how much a model's loss grows when a feature's values are shuffled among rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

ROWS_PER_CALL = 100_000

Answered = TypeVar("Answered")


def permutation_importance(
    predict: Callable[[pl.DataFrame], Answered],
    row_losses: Callable[[pl.DataFrame, Answered], NDArray[np.float64]],
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    seed: int,
    most_rows: int = 2_000,
    repeats: int = 3,
) -> dict[str, float]:
    """Growth of the mean loss per feature, in the loss's unit; 0.0 for what the model does not use, empty for no rows.

    predict: the model's answers on rows that have only the features; asked once for many shuffles, because asking may
    start a process. row_losses: the loss of each row, from rows with their own outcome and the answers on them.
    frame: held-out rows. At most `most_rows` of them are drawn; each feature is shuffled `repeats` times among them.
    The draw depends on seed and number of rows, a shuffle on seed and feature besides, so two models are compared on
    the same rows and shuffles whatever else they take.

    It tells what the model rests on, not what causes the outcome. Features that say the same share their importance,
    and shuffling one of them makes rows that never occur. A negative value is noise, or a feature that harms.
    Source: Breiman (2001), Machine Learning 45(1); Fisher, Rudin, Dominici (2019), JMLR 20(177).
    """
    import numpy as np
    import polars as pl

    if frame.height == 0 or not features:
        return {}
    drawn = np.random.default_rng(seed).permutation(frame.height)[:most_rows]
    rows = frame[np.sort(drawn)]
    found: dict[str, float] = {}
    at_once = max(1, ROWS_PER_CALL // (rows.height * repeats))
    for start in range(0, len(features), at_once):
        names = features[start : start + at_once]
        copies = [copy for name in names for copy in _shuffles(rows, name, seed, repeats)]
        stacked = pl.concat([rows, *copies])
        losses = row_losses(stacked, predict(stacked.select(features)))
        plain = float(losses[: rows.height].mean())
        means = losses[rows.height :].reshape(len(names), repeats * rows.height).mean(axis=1)
        found |= {name: float(mean) - plain for name, mean in zip(names, means, strict=True)}
    return found


def _shuffles(rows: pl.DataFrame, feature: str, seed: int, repeats: int) -> list[pl.DataFrame]:
    import numpy as np

    rng = np.random.default_rng([seed, zlib.crc32(feature.encode())])
    column = rows.get_column(feature)
    return [rows.with_columns(column[rng.permutation(rows.height)]) for _ in range(repeats)]
