"""Progressive validation with the project's own code: what windows of rows would have given on recent windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.project import Project
from flyball.pipelines.children.fitting import TrainingLog, Workbench, load_train
from flyball.pipelines.children.maker import ModelMaker, open_champion
from flyball.pipelines.children.measuring import losses_of
from flyball.pipelines.user_code import enter_source
from flyball.retraining.folds import TrainedLoss, Training, rows_to_test, rows_to_train

if TYPE_CHECKING:
    import polars as pl


class TrainTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which trainings are made, with which files of the project; each loss goes to `losses` as soon as it is there."""

    source: str
    project: Project
    contract: Contract
    classes: list[Any] | None
    positive: Any
    champion: str | None
    file: str
    out: str
    losses: str
    trainings: list[Training]


def train_all(task: TrainTask) -> None:
    """Make the trainings and write the loss of each, a `TrainedLoss` in JSON a line."""
    import polars as pl

    rows = pl.read_parquet(task.file)
    maker = _maker(task, rows)
    with Path(task.losses).open("ab") as file:
        for training in task.trainings:
            train = rows_to_train(rows, training.name, training.fold)
            loss = _loss(maker, train, rows_to_test(rows, training.fold))
            file.write(msgspec.json.encode(TrainedLoss(key=training.key, loss=loss)) + b"\n")
            file.flush()


def _maker(task: TrainTask, rows: pl.DataFrame) -> ModelMaker:
    source = Path(task.source).resolve()
    enter_source(source)
    out = Path(task.out)
    bench = Workbench(task.project, source, TrainingLog(out), open_champion(task.champion))
    function = load_train(bench)
    return ModelMaker(bench, function, task.contract, task.classes, task.positive, rows)


def _loss(maker: ModelMaker, train: pl.DataFrame, test: pl.DataFrame) -> float | None:
    """Mean loss on the test rows of a model trained on the training rows."""
    held = maker.answers(maker.fit(train, None), test)
    losses = losses_of(held, maker.project)
    return None if losses is None else float(losses.mean())
