"""What a project must satisfy beyond its types: names, durations, shares, and keys that go together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from flyball.core.project import Project, SplitSection
from flyball.core.refs import MODEL_NAME
from flyball.pipelines.contract_rules import contract_rules
from flyball.pipelines.faults import at_least, duration_fault, fault, repeated, share_fault
from flyball.pipelines.gate_rules import gate_rules
from flyball.pipelines.model_test_rules import model_test_rules
from flyball.pipelines.operation_rules import operation_rules
from flyball.pipelines.positions import Path
from flyball.pipelines.rubric_rules import rubric_rules
from flyball.pipelines.shape import Fault

ENTRY = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
# A step that is packaged gets what a request brings, and what the package holds.
BOTH_INPUTS = ("rows", "params", "seed")
STEP_INPUTS = ("rows", "params", "seed", "features", "target", "log")
TRAIN_INPUTS = (
    "train", "validation", "X", "y", "params", "seed", "features", "target", "weights", "champion", "out", "log",
)  # fmt: skip


def broken_rules(project: Project) -> Iterator[Fault]:
    """Every rule that a project of the right types still breaks."""
    for rules in (
        _model, _data, _split_of_data, contract_rules, _train, _steps, _decision, _tune, gate_rules,
        model_test_rules, operation_rules, rubric_rules,
    ):  # fmt: skip
        yield from rules(project)


def _model(project: Project) -> Iterator[Fault]:
    model = project.model
    if not MODEL_NAME.match(model.name):
        yield fault(
            f'is "{model.name[:80]}"', "model", "name",
            expected="2 to 63 characters of a-z, 0-9 and -, beginning with a letter or digit, such as credit-default",
        )  # fmt: skip
    for key in ("target", "entity", "time"):
        if getattr(model, key) == "":
            yield fault("is empty", "model", key, expected="the name of a column")
    named = {"target": model.target, "entity": model.entity, "time": model.time}
    for key in ("entity", "time"):
        if named[key] is not None and named[key] == model.target:
            yield fault("is the target", "model", key, expected="another column")
    if model.entity is not None and model.entity == model.time:
        yield fault("is the time column", "model", "entity", expected="another column")
    if model.positive is not None and model.task != "binary":
        yield fault(f"is set for a {model.task} model", "model", "positive", expected='task = "binary"')


def _data(project: Project) -> Iterator[Fault]:
    data, model = project.data, project.model
    if not data.source.strip():
        yield fault("is empty", "data", "source", expected="a file, glob, directory or URL")
    is_database = re.match(r"^(sqlite|postgresql|mysql|mssql)(\+\w+)?://", data.source) is not None
    if is_database and not data.query:
        yield fault("is missing", "data", "query", expected='a statement such as "select …" for a database')
    if data.query and not is_database:
        yield fault(
            "is set but the source is no database", "data", "query", expected="a database URL as source"
        )
    yield from duration_fault(data.outcome_delay, "data", "outcome_delay")
    reserved = {model.target: "target", model.entity: "entity", model.time: "time"}
    for number, feature in enumerate(data.features):
        if feature in reserved and reserved[feature] != "entity":
            yield fault(
                f'is "{feature}", the {reserved[feature]} column',
                "data",
                "features",
                number,
                expected="a feature",
            )
        if feature in data.exclude:
            yield fault(f'is "{feature}", which data.exclude leaves out', "data", "features", number)
    for name in ("features", "exclude", "protected"):
        yield from repeated(getattr(data, name), "data", name)
    if model.target in data.exclude:
        yield fault(
            f'has the target "{model.target}"', "data", "exclude", expected="columns other than the target"
        )
    for number, join in enumerate(data.join):
        if not join.on:
            yield fault("is empty", "data", "join", number, "on", expected="a column or a list of columns")
        if model.time is None:
            yield fault(
                "needs [model].time, against which available_at is compared",
                "data",
                "join",
                number,
                "available_at",
            )


def _split_of_data(project: Project) -> Iterator[Fault]:
    yield from split_faults(project.data.split, project, "data", "split")


def split_faults(split: SplitSection, project: Project, *path: str) -> Iterator[Fault]:
    """What is wrong with split settings, for the project's own and for those that a retraining asks for."""
    yield from share_fault(split.test, *path, "test")
    yield from share_fault(split.validation, *path, "validation", zero=True)
    if split.test + split.validation >= 1:
        yield fault("leaves no rows for training", *path, expected="test + validation below 1")
    if split.by == "time" and project.model.time is None:
        yield fault(
            'is "time" but [model].time is not set', *path, "by", expected="model.time, or another way"
        )
    if split.by == "group" and split.column is None and project.model.entity is None:
        yield fault("is missing", *path, "column", expected="the column whose groups stay together")
    if split.column is not None and split.by != "group":
        yield fault("is set but the split is not by group", *path, "column", expected='by = "group"')
    by_time = split.by == "time" or (split.by is None and project.model.time is not None)
    for key in ("gap", "horizon", "folds"):
        if getattr(split, key) is not None and not by_time:
            yield fault("is set but the split is not by time", *path, key, expected='by = "time"')
    for key in ("gap", "horizon"):
        if (text := getattr(split, key)) is not None:
            yield from duration_fault(text, *path, key)
    yield from at_least(split.folds, 2, *path, "folds")


def _train(project: Project) -> Iterator[Fault]:
    train = project.train
    if train.entry != "auto" and not ENTRY.match(train.entry):
        yield fault(
            f'is "{train.entry[:80]}"',
            "train",
            "entry",
            expected='module:function, such as train:train, or "auto"',
        )
    yield from duration_fault(train.timeout, "train", "timeout", least=timedelta(seconds=1))
    yield from at_least(train.threads, 1, "train", "threads")
    yield from at_least(train.memory_mb, 64, "train", "memory_mb")
    if not 0 <= train.seed < 2**32:
        yield fault(f"is {train.seed}", "train", "seed", expected="0 to 4294967295")
    yield from _unwritable(train.params, ("train", "params"))


def _unwritable(value: Any, path: Path) -> Iterator[Fault]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Fault(path=path, problem=f"is {value}", expected="a finite number")
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _unwritable(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _unwritable(below, (*path, number))
    elif not isinstance(value, str | int | float | bool):
        yield Fault(path=path, problem="is a date or time", expected='text, such as "2026-01-31"')


def _steps(project: Project) -> Iterator[Fault]:
    seen: list[str] = []
    packaged: str | None = None
    for number, step in enumerate(project.steps):
        if not step.name.isidentifier():
            yield fault(f'is "{step.name}"', "steps", number, "name", expected="a Python name")
        if step.name in seen:
            yield fault(f'repeats "{step.name}"', "steps", number, "name", expected="each name once")
        if step.name in (*STEP_INPUTS, *TRAIN_INPUTS) and step.name != "features":
            yield fault(
                f'is "{step.name}", a name of its own', "steps", number, "name", expected="another name"
            )
        if not ENTRY.match(step.entry):
            yield fault(f'is "{step.entry[:80]}"', "steps", number, "entry", expected="module:function")
        if step.at == "train" and packaged is not None:
            yield fault(
                f'is "train" after the step "{packaged}", which runs on each request', "steps", number, "at",
                expected='"train" steps first: requests carry their output',
            )  # fmt: skip
        packaged = step.name if step.at == "both" else packaged
        seen.append(step.name)


def _decision(project: Project) -> Iterator[Fault]:
    decision, task = project.decision, project.model.task
    if decision.threshold is not None and decision.cost is not None:
        yield fault("has both threshold and cost", "decision", expected="one of them")
    if decision.threshold is not None:
        if task == "regression":
            yield fault(
                "is set for a regression model", "decision", "threshold", expected="a class to decide on"
            )
        yield from share_fault(decision.threshold, "decision", "threshold")
    if decision.cost is not None:
        if task != "binary":
            yield fault(f"is set for a {task} model", "decision", "cost", expected='task = "binary"')
        for key in ("false_positive", "false_negative"):
            value = getattr(decision.cost, key)
            if not (math.isfinite(value) and value >= 0):
                yield fault(f"is {value:g}", "decision", "cost", key, expected="a cost of at least 0")
        if decision.cost.false_positive + decision.cost.false_negative == 0:
            yield fault("is zero for every error", "decision", "cost", expected="a cost above 0")


def _tune(project: Project) -> Iterator[Fault]:
    if project.tune is not None:
        yield from at_least(project.tune.trials, 1, "tune", "trials")
        yield from duration_fault(project.tune.timeout, "tune", "timeout", least=timedelta(seconds=1))
