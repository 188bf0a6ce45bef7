"""What error to expect of a version, and when a worse one is confirmed enough to retrain on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput, NotEnoughEvidence
from flyball.core.values import Interval

CONFIRM_RATIO = 1.25


class PerformanceReference(msgspec.Struct, frozen=True, kw_only=True):
    """The error a version was entitled to when it was trained.

    loss: what windows are compared with: the larger of the cross-validated and the progressive loss.
    block_losses: mean held-out loss of each block of the training rows, oldest first, the history of a young
    version.
    """

    loss: float
    cross_validated: float
    progressive: float | None
    interval: Interval
    block_losses: list[float]
    row_count: int


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether enough of the last windows were bad. ratios: window loss over reference loss, oldest first."""

    confirmed: bool
    because: str
    bad_windows: int
    ratios: list[float]


def performance_reference(
    losses: Sequence[float] | NDArray[np.float64],
    blocks: Sequence[float] | NDArray[np.float64],
    *,
    progressive: float | None = None,
    seed: int = 0,
) -> PerformanceReference:
    """The reference from held-out losses of the training rows, per block of time (a window's length each).

    losses: one per row, by a model that was not trained on the row's block (`block_folds`); blocks: label per
    row.
    progressive: loss of this way of training on the windows before it was trained, from `choosing.choose`.
    Where the stream moves, cross-validation between known blocks promises too little error, and each promise
    too small retrains again and again; so the larger one holds. The interval resamples blocks (Kuensch 1989),
    95 %.
    """
    values, labels = np.asarray(losses, dtype=np.float64), np.asarray(blocks)
    if values.size == 0:
        raise NotEnoughEvidence("a performance reference needs held-out losses; there are none")
    _, inverse = np.unique(labels, return_inverse=True)
    counts = np.bincount(inverse)
    sums = np.bincount(inverse, weights=values)
    cross_validated = float(values.mean())
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(counts), size=(1000, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    enough = counts >= np.median(counts) / 2  # the first and the last block are often cut short
    return PerformanceReference(
        loss=max(cross_validated, progressive) if progressive is not None else cross_validated,
        cross_validated=cross_validated,
        progressive=progressive,
        interval=Interval(float(low), float(high)),
        block_losses=(sums / counts)[enough].tolist(),
        row_count=int(values.size),
    )


def block_folds(blocks: Sequence[float] | NDArray[np.float64], *, folds: int = 5) -> NDArray[np.int64]:
    """The fold of each row, 0 to folds - 1: whole blocks, dealt out in turn, so neighbours in time stay
    together.

    With fewer blocks than folds, as many folds as blocks.
    """
    distinct, inverse = np.unique(np.asarray(blocks), return_inverse=True)
    return (inverse % min(folds, max(len(distinct), 1))).astype(np.int64)


def confirm(
    window_losses: Sequence[float],
    reference_loss: float,
    *,
    needed: int = 2,
    of: int = 3,
    ratio: float = CONFIRM_RATIO,
) -> Confirmation:
    """Whether the last windows confirm a loss of at least `ratio` times the reference.

    window_losses: of the present champion, oldest first, broken windows left out; the last `of` count. The
    newest must be bad itself, so that what has passed retrains nothing; fewer windows than `needed` confirm
    nothing.
    """
    if reference_loss <= 0:
        raise BadInput("a reference loss must be above 0 to compare with", reference_loss=reference_loss)
    ratios = [loss / reference_loss for loss in window_losses[-of:]]
    bad = sum(1 for value in ratios if value >= ratio)
    confirmed = bad >= needed and bool(ratios) and ratios[-1] >= ratio
    shown = ", ".join(f"{value:.2f}" for value in ratios) or "none"
    because = (
        f"{bad} of the last {len(ratios)} windows had at least {ratio:g} times the reference loss of "
        f"{reference_loss:.4g} (times: {shown}); {needed} of {of} are needed"
    )
    return Confirmation(confirmed=confirmed, because=because, bad_windows=bad, ratios=ratios)
