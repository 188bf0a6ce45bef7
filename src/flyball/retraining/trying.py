"""Progressive validation with the project's own code: what each window of rows would have given on recent windows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.project import Project
from flyball.judge.choosing import LEAST_TRAINING_ROWS, Fold, training_start
from flyball.pipelines.children.fitting import TrainingLog, Workbench, load_train
from flyball.pipelines.children.maker import ModelMaker, open_champion
from flyball.pipelines.children.measuring import losses_of
from flyball.pipelines.user_code import enter_source
from flyball.retraining.rows import AT, HARM, KNOWN_AT

if TYPE_CHECKING:
    import polars as pl


class ChooseTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which windows of rows (`names`) are tried on which folds, with which files of the project."""

    source: str
    project: Project
    contract: Contract
    classes: list[Any] | None
    positive: Any
    champion: str | None
    file: str
    out: str
    names: list[str]
    folds: list[Fold]


def try_windows(task: ChooseTask) -> dict[str, Any]:
    """Mean loss per window of rows and fold, and the champion's own on the same rows; None where there is none.

    A fold is tested on the rows that the champion answered; one without any is tested on all its rows.
    """
    import polars as pl

    rows = pl.read_parquet(task.file)
    maker = _maker(task, rows)
    tests = [_test_rows(rows, fold) for fold in task.folds]
    began = time.perf_counter()
    known: dict[tuple[int, int], float | None] = {}
    losses: dict[str, list[float | None]] = {}
    for name in task.names:
        losses[name] = []
        for number, (fold, test) in enumerate(zip(task.folds, tests, strict=True)):
            train = _training_rows(rows, name, fold)
            key = (number, train.height)  # windows differ in where they begin only
            if key not in known:
                known[key] = _loss(maker, train, test)
            losses[name].append(known[key])
    return {
        "losses": losses,
        "champion": [_champion_loss(test) for test in tests],
        "row_counts": [test.height for test in tests],
        "trainings": len(known),
        "seconds": round(time.perf_counter() - began, 3),
    }


def _maker(task: ChooseTask, rows: pl.DataFrame) -> ModelMaker:
    source = Path(task.source).resolve()
    enter_source(source)
    out = Path(task.out)
    bench = Workbench(task.project, source, TrainingLog(out), open_champion(task.champion))
    function = load_train(bench)
    return ModelMaker(bench, function, task.contract, task.classes, task.positive, rows)


def _training_rows(rows: pl.DataFrame, name: str, fold: Fold) -> pl.DataFrame:
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


def _test_rows(rows: pl.DataFrame, fold: Fold) -> pl.DataFrame:
    import polars as pl

    test = rows.filter((pl.col(AT) >= _moment(fold.test_from)) & (pl.col(AT) < _moment(fold.test_until)))
    answered = test.filter(pl.col(HARM).is_not_null())
    return answered if answered.height else test


def _champion_loss(test: pl.DataFrame) -> float | None:
    mean = test[HARM].mean()
    return float(mean) if isinstance(mean, int | float) else None


def _loss(maker: ModelMaker, train: pl.DataFrame, test: pl.DataFrame) -> float | None:
    """Mean loss on the test rows of a model trained on the training rows; None where there are too few."""
    target = maker.project.model.target
    if train.height < LEAST_TRAINING_ROWS or test.height == 0:
        return None
    if maker.project.model.task != "regression" and train[target].n_unique() < len(maker.classes or []):
        return None
    held = maker.answers(maker.fit(train, None), test)
    losses = losses_of(held, maker.project)
    return None if losses is None else float(losses.mean())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
