"""Answers on training rows by models that had not seen them: whole blocks of time left out in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyball.core.durations import parse_duration
from flyball.pipelines.children.answering import Held

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.pipelines.children.maker import ModelMaker

FOLDS = 5
SHARE_OF_TIMEOUT = 0.5
WATCHED, LOSS = "watched", "loss"


def cross_validate(
    maker: ModelMaker, parts: dict[str, pl.DataFrame], fit_seconds: float
) -> pl.DataFrame | None:
    """The training rows with what is watched of the answers to them, and the loss; None where there is no time column.

    A block is a monitor window long, so that what is compared later was made alike. None too, with a word in the log,
    where so many more trainings would use up more than half of the time allowed.
    """
    import numpy as np
    import polars as pl

    from flyball.data.columns import event_times
    from flyball.judge.drift.performance import block_folds
    from flyball.pipelines.children.measuring import losses_of

    project, train = maker.project, parts["train"]
    if project.model.time is None or project.model.time not in train.columns:
        return None
    window = parse_duration(project.monitor.window).total_seconds()
    seconds = event_times(train, project.model.time).dt.epoch("us").to_numpy() / 1e6
    blocks = np.floor(seconds / window)
    folds = block_folds(blocks, folds=FOLDS)
    count = int(folds.max()) + 1
    if count < 2:
        return None
    limit = SHARE_OF_TIMEOUT * parse_duration(project.train.timeout).total_seconds()
    if count * fit_seconds > limit:
        maker.say(
            f"no cross-validation: {count} trainings of {fit_seconds:.0f} s are too much of [train].timeout"
        )
        return None
    watched: list[object] = [None] * train.height
    losses = np.full(train.height, np.nan)
    for fold in range(count):
        rows = np.flatnonzero(folds == fold)
        held = _answers(maker, train, parts.get("validation"), folds != fold, rows)
        if held is None:
            return None
        for row, value in zip(rows.tolist(), held.watched(), strict=True):
            watched[row] = value
        found = losses_of(held, project)
        if found is not None:
            losses[rows] = found
    answers = pl.DataFrame({WATCHED: watched, LOSS: losses})
    return answers.with_columns(pl.col(LOSS).fill_nan(None))


def _answers(
    maker: ModelMaker,
    train: pl.DataFrame,
    validation: pl.DataFrame | None,
    is_kept: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> Held | None:
    """Answers on the left-out rows; None where the rows that are left lack a class."""
    import polars as pl

    kept = train.filter(pl.Series(is_kept))
    target = maker.project.model.target
    if maker.classes is not None and kept.get_column(target).n_unique() < len(maker.classes):
        maker.say("no cross-validation: a class is so rare that some blocks of time are all that has it")
        return None
    return maker.answers(maker.fit(kept, validation), train[rows])
