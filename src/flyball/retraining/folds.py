"""The rows that a trial of windows trains and tests on, and what names them by content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from flyball.judge.choosing import LEAST_TRAINING_ROWS, Fold, training_start
from flyball.retraining.rows import AT, HARM, KNOWN_AT

if TYPE_CHECKING:
    import polars as pl


class FoldsTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which windows of rows (`names`) are tried on which folds.

    columns: what a model sees of a row, the target last. least_classes: that training rows must show. has_steps: the
    columns that steps give are told from all rows.
    """

    folds: list[Fold]
    names: list[str]
    columns: list[str]
    least_classes: int
    has_steps: bool


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One training of a trial: a window of rows before a fold. key: of all that its loss rests on."""

    key: str
    name: str
    fold: Fold


class TrainedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What a training gave: the mean loss on its fold; None for a classifier that gives no probabilities."""

    key: str
    loss: float | None


class FoldRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one fold. test: digest of the rows tested on, `row_count` of them; champion: its mean loss on them.

    train: digest of the training rows per window, None where they are too few to train or nothing is there to test.
    """

    test: str
    row_count: int
    champion: float | None
    train: dict[str, str | None]


class TrialRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a trial, by fold. whole: digest of all rows, where a training rests on them."""

    folds: list[FoldRows]
    whole: str | None


def describe_trial(rows: pl.DataFrame, task: FoldsTask) -> TrialRows:
    """What the rows of each fold are, by content; needs none of the project's code."""
    from flyball.data.content import digest_content

    seen = [name for name in task.columns if name in rows.columns]
    folds = []
    for fold in task.folds:
        test = rows_to_test(rows, fold)
        digests: dict[int, str | None] = {}
        train: dict[str, str | None] = {}
        for name in task.names:
            part = rows_to_train(rows, name, fold)
            if part.height not in digests:  # windows differ in where they begin only
                can_train = test.height > 0 and _is_enough(part, task)
                digests[part.height] = digest_content(part.select(seen)) if can_train else None
            train[name] = digests[part.height]
        folds.append(
            FoldRows(
                test=digest_content(test.select(seen)),
                row_count=test.height,
                champion=_champion_loss(test),
                train=train,
            )
        )
    return TrialRows(folds=folds, whole=digest_content(rows.select(seen)) if task.has_steps else None)


def rows_to_train(rows: pl.DataFrame, name: str, fold: Fold) -> pl.DataFrame:
    """Rows of a window whose outcomes were known when the fold's test began; rows without a time are the oldest."""
    import polars as pl

    start = training_start(name, fold.train_until)
    until, known_by = _moment(fold.train_until), _moment(fold.test_from)
    inside = (pl.col(AT) < until) & (pl.col(KNOWN_AT) <= known_by)
    if start == float("-inf"):
        inside = inside | pl.col(AT).is_null()
    else:
        inside = inside & (pl.col(AT) >= _moment(start))
    return rows.filter(inside)


def rows_to_test(rows: pl.DataFrame, fold: Fold) -> pl.DataFrame:
    """Rows of a fold that the champion answered; all its rows where it answered none."""
    import polars as pl

    test = rows.filter((pl.col(AT) >= _moment(fold.test_from)) & (pl.col(AT) < _moment(fold.test_until)))
    answered = test.filter(pl.col(HARM).is_not_null())
    return answered if answered.height else test


def _is_enough(train: pl.DataFrame, task: FoldsTask) -> bool:
    if train.height < LEAST_TRAINING_ROWS:
        return False
    return task.least_classes == 0 or train[task.columns[-1]].n_unique() >= task.least_classes


def _champion_loss(test: pl.DataFrame) -> float | None:
    mean = test[HARM].mean()
    return float(mean) if isinstance(mean, int | float) else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
