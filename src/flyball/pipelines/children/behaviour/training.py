"""Child `train-tests`: tests that train again: from one seed twice, from several seeds, and on one small batch.

It runs without stores and credentials, as training does.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from flyball.core.errors import FlyballError
from flyball.core.project import ModelTestSection
from flyball.core.values import Verdict
from flyball.judge.behaviour.changes import stays
from flyball.judge.behaviour.found import Found, not_shown
from flyball.judge.metrics.table import compute_metrics, default_loss
from flyball.pipelines.children.answering import Held
from flyball.pipelines.children.behaviour.results import Shown, result_of
from flyball.pipelines.children.fitting import run_train_steps
from flyball.pipelines.children.maker import ModelMaker
from flyball.pipelines.children.measuring import losses_of
from flyball.pipelines.children.train import Ready, TrainTask, get_ready, read_test
from flyball.pipelines.hidden import hidden_columns, shown_row

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 1000
SEEDS = 5
BATCH = 100
MOST_LEFT = 0.9


def run_training_tests(payload: dict[str, Any]) -> dict[str, Any]:
    """A result per test that trains, in their order."""
    task = msgspec.convert({name: payload[name] for name in TrainTask.__struct_fields__}, TrainTask)
    trainer = _Trainer(task)
    tests = [msgspec.convert(test, ModelTestSection) for test in payload["tests"]]
    return {"tests": [_run(test, trainer) for test in tests]}


class _Trainer:
    """Trains with any seed and keeps the answers on held-out rows, so that tests share trainings."""

    def __init__(self, task: TrainTask) -> None:
        self.ready: Ready = get_ready(task)
        test = read_test(task)
        if self.ready.before:
            test = run_train_steps(
                self.ready.bench, self.ready.before, test, task.prepared.features, self.ready.cache
            )
        self.test = test
        self.project = task.project
        self._out = Path(task.made) / "out"
        self._held: dict[tuple[int, int], Held] = {}

    def held(self, seed: int, repeat: int = 0) -> Held:
        """Answers on held-out rows of the model trained from a seed; another one for each `repeat`."""
        if (seed, repeat) not in self._held:
            maker = self._maker(seed)
            estimator = maker.fit(self.ready.parts["train"], self.ready.parts.get("validation"))
            self._held[seed, repeat] = maker.answers(estimator, self.test)
        return self._held[seed, repeat]

    def learned(self, batch: pl.DataFrame) -> Held:
        """Answers on the very rows that a model was trained on."""
        maker = self._maker(self.project.train.seed)
        return maker.answers(maker.fit(batch, None), batch)

    def _maker(self, seed: int) -> ModelMaker:
        ready = self.ready
        train = msgspec.structs.replace(self.project.train, seed=seed)
        bench = replace(ready.bench, project=msgspec.structs.replace(self.project, train=train))
        return ready.make_maker(bench)


def deterministic(test: ModelTestSection, trainer: _Trainer) -> Shown:
    """The same seed twice gives the same answers."""
    seed = trainer.project.train.seed
    first, second = trainer.held(seed), trainer.held(seed, repeat=1)
    if first.classes is not None and first.scores is None:
        old, new = (_as_numbers(held.prediction, first.classes) for held in (first, second))
    else:
        old, new = (
            np.asarray(held.prediction if held.scores is None else held.scores, dtype=np.float64)
            for held in (first, second)
        )
    found = stays(old, new, max_change=test.max_change or 0.0)
    rows = trainer.test.select(list(trainer.ready.contract.features))
    examples = [
        {
            "before": _shown(old[row]),
            "after": _shown(new[row]),
            "row": shown_row(rows.row(row, named=True), hidden_columns(trainer.project.log)),
        }
        for row in found.worst
    ]
    return found, examples


def seeds(test: ModelTestSection, trainer: _Trainer) -> Shown:
    """How far a metric lies apart between trainings that differ in their seed only."""
    project, count = trainer.project, test.seeds or SEEDS
    metric = test.metric or default_loss(project.model.task)
    values = []
    for seed in range(project.train.seed, project.train.seed + count):
        held = trainer.held(seed)
        measured = compute_metrics(
            project.model.task, held.truth, held.prediction,
            scores=held.scores, positive=held.positive, classes=held.classes,
        )  # fmt: skip
        if metric not in measured:
            return not_shown(f"{metric} is undefined on the held-out rows"), []
        values.append(measured[metric])
    spread = max(values) - min(values)
    assert test.max_spread is not None
    shown = ", ".join(f"{value:.4g}" for value in values)
    words = f"{metric} of {count} seeds is {shown}: {spread:.4g} apart, {test.max_spread:g} is allowed"
    return Found(Verdict("pass" if spread <= test.max_spread else "fail", words)), []


def small_batch(test: ModelTestSection, trainer: _Trainer) -> Shown:
    """A model trained on a few rows knows these rows: else the training does not learn."""
    project, train = trainer.project, trainer.ready.parts["train"]
    target, size = project.model.target, test.batch or BATCH
    if project.model.task == "regression":
        batch = train.sample(min(size, train.height), seed=project.train.seed)
    else:
        each = max(1, size // max(train.get_column(target).n_unique(), 1))
        batch = train.group_by(target, maintain_order=True).head(each).select(train.columns)
    held = trainer.learned(batch)
    losses = losses_of(held, project)
    if losses is None:
        wrong = [one != other for one, other in zip(held.truth, held.prediction, strict=True)]
        loss, without = float(np.mean(wrong)), 1 - 1 / len(held.classes or [0])
    else:
        loss, without = float(losses.mean()), _without_model(held)
    if not without:
        return not_shown(f"{batch.height} rows have one outcome, which needs no learning"), []
    allowed, left = MOST_LEFT if test.max_share is None else test.max_share, loss / without
    words = f"trained on {batch.height} rows, {left:.2f} of their loss without a model is left; {allowed:g} is allowed"
    return Found(Verdict("pass" if left <= allowed else "fail", words)), []


def _without_model(held: Held) -> float:
    """The loss on rows of answers that need no model: their mean, or each class's share."""
    if held.classes is None:
        truth = np.asarray(held.truth, dtype=np.float64)
        return float(np.abs(truth - truth.mean()).mean())
    texts = [str(value) for value in held.truth]
    shares = np.array([texts.count(name) for name in set(texts)]) / len(texts)
    return float(-(shares * np.log(shares)).sum())


def _as_numbers(labels: list[Any], classes: list[Any]) -> Any:
    return np.array([classes.index(label) for label in labels], dtype=np.float64)


def _shown(number: Any) -> Any:
    return round(float(number), 6) if np.ndim(number) == 0 else [round(float(value), 4) for value in number]


_KINDS = {"deterministic": deterministic, "seeds": seeds, "small-batch": small_batch}


def _run(test: ModelTestSection, trainer: _Trainer) -> dict[str, Any]:
    began = time.perf_counter()
    outcome: str
    rows: list[dict[str, Any]]
    try:
        found, rows = _KINDS[test.kind](test, trainer)
        outcome, because = found.verdict.outcome, found.verdict.because
    except FlyballError as error:
        outcome, because, rows = "broken", error.message, []
    return result_of(test, outcome, because, rows, began)
