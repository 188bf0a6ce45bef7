"""What model tests ask of rows, and what they show of them: within the contract, and without hidden values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from flyball.core.contract import Contract, FeatureRule
from flyball.core.project import (
    DataSection,
    LogSection,
    ModelSection,
    ModelTestSection,
    Project,
    TrainSection,
)
from flyball.pipelines.children.answering import Held
from flyball.pipelines.children.behaviour.changing import _with_noise
from flyball.pipelines.children.behaviour.subject import Subject
from flyball.pipelines.children.behaviour.testing import _run
from flyball.pipelines.children.behaviour.training import _Trainer, deterministic
from flyball.pipelines.hidden import HIDDEN
from flyball.registry.formats.answers import Answers

PROJECT = Project(
    model=ModelSection(name="line", task="regression", target="y"),
    data=DataSection(source="rows.csv"),
    train=TrainSection(entry="train:train", seed=3),
    log=LogSection(drop=["who"], hash=["street"]),
)
ROWS = pl.DataFrame(
    {
        "x": np.linspace(0.0, 1.0, 50),
        "n": list(range(50)),
        "who": [f"person {row}" for row in range(50)],
        "street": ["Long Lane"] * 50,
        "y": np.linspace(0.0, 1.0, 50),
    }
)
CONTRACT = Contract(
    features={
        "x": FeatureRule(type="float", min=0.0, max=1.0),
        "n": FeatureRule(type="int", min=0, max=60),
        "who": FeatureRule(type="string"),
        "street": FeatureRule(type="string"),
    }
)


def subject(predict: Callable[[pl.DataFrame], list[float]] | None = None) -> Subject:
    """A subject whose model answers so, if it is asked at all."""
    unasked: Any = None
    model: Any = None
    if predict is not None:
        model = SimpleNamespace(predict_frame=lambda rows: Answers(predict(rows), None), classes=None)
    return Subject(
        project=PROJECT, package=Path(), predictor=model, contract=CONTRACT, train=ROWS, test=ROWS,
        held=unasked, groups=None, positive=None, champion=None, twin=None,
    )  # fmt: skip


def test_noise_stays_within_the_limits_of_the_contract_and_whole_numbers_stay_whole():
    sample = ROWS.drop("y")
    noisy = _with_noise(subject(), sample, ["x", "n", "who"], 5.0, np.random.default_rng(1))
    assert noisy.schema == sample.schema and noisy["who"].equals(sample["who"])
    assert not noisy["x"].equals(sample["x"]) and not noisy["n"].equals(sample["n"])
    assert noisy["x"].min() == 0.0 and noisy["x"].max() == 1.0
    assert noisy["n"].min() == 0 and noisy["n"].max() == 60


def test_what_a_model_raises_and_the_row_that_it_raises_at_show_no_hidden_value():
    told = subject().told(ValueError("no rate for person 17 of Long Lane, x is 0.5"))
    assert told == f"no rate for {HIDDEN} of {HIDDEN}, x is 0.5"
    shown = subject().example(
        ROWS.row(17, named=True), {"street": ["Long Lane", "Short Lane"], "x": [0.2, 0.4]}, answer=1.5
    )
    assert shown["changed"] == {"street": [HIDDEN, HIDDEN], "x": [0.2, 0.4]} and shown["answer"] == 1.5
    assert (shown["row"]["who"], shown["row"]["street"], shown["row"]["n"]) == (HIDDEN, HIDDEN, 17)


def test_rows_that_a_repeated_training_answers_otherwise_show_no_hidden_value():
    trainer = _Trainer.__new__(_Trainer)  # as if it had trained twice already
    trainer.project, trainer.test = PROJECT, ROWS
    ready: Any = SimpleNamespace(contract=CONTRACT)
    trainer.ready = ready
    truth = ROWS["y"].to_list()
    again = [*truth[:49], 7.0]
    trainer._held = {
        (3, repeat): Held(truth, said, None, None, None) for repeat, said in enumerate((truth, again))
    }
    found, rows = deterministic(ModelTestSection(kind="deterministic"), trainer)
    assert found.verdict.outcome == "fail" and len(rows) == 1
    assert (rows[0]["before"], rows[0]["after"], rows[0]["row"]["n"]) == (1.0, 7.0, 49)
    assert (rows[0]["row"]["who"], rows[0]["row"]["street"]) == (HIDDEN, HIDDEN)


def _raise(rows: pl.DataFrame) -> list[float]:
    raise KeyError(f"no rate for {rows['who'][0]}")


@pytest.mark.parametrize(
    ("predict", "feature", "outcome", "told"),
    [
        (lambda rows: [1.0] * rows.height, "x", "pass", "0 of 50 answers"),
        (
            lambda rows: rows["x"].fill_null(9.0).to_list(),
            "x",
            "fail",
            "49 of 50 answers",
        ),  # one moves by just 8
        (lambda rows: [float("nan")] * rows.height, "x", "fail", ""),
        (lambda rows: [1.0], "x", "fail", ""),
        (_raise, "x", "fail", f"the model raised KeyError: 'no rate for {HIDDEN}'"),
        (lambda rows: [1.0] * rows.height, "z", "broken", "'z' is no feature of the model"),
    ],
)
def test_answers_that_cannot_be_used_fail_and_tests_that_cannot_be_asked_are_broken(
    predict: Any, feature: str, outcome: str, told: str
):
    test = ModelTestSection(kind="missing", features=[feature], max_change=8.0)
    result = _run(test, subject(predict))
    assert (result["outcome"], told in result["because"]) == (outcome, True), result
