"""Calls of the project's `train` and steps: what each gets, and what may come back."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadAnswer, UserCodeFailed
from flyball.core.project import Project, StepSection
from flyball.pipelines.children.step_cache import StepCache
from flyball.pipelines.project_rules import BOTH_INPUTS, STEP_INPUTS, TRAIN_INPUTS
from flyball.pipelines.user_code import call_by_name, check_parameters, load_entry, parameters_of
from flyball.registry.formats.frames import Kind, as_kind, from_user

if TYPE_CHECKING:
    import polars as pl

LoadedStep = tuple[StepSection, Callable[..., Any]]


class TrainingLog:
    """`log` in the project's functions: metrics and figures, written to a file and to the run's output at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.count = 0

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Note a number, optionally of a step such as an epoch."""
        entry = {"at": round(time.time(), 3), "name": str(name), "value": float(value), "step": step}
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")
        self.count += 1
        sys.stdout.write(f"{name} {value:.6g}" + (f" (step {step})" if step is not None else "") + "\n")

    def figure(self, name: str, figure: Any) -> None:
        """Keep a figure: a matplotlib one as SVG, anything else with `to_json` (a Vega-Lite chart) as JSON."""
        stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)[:80]
        self._folder.mkdir(parents=True, exist_ok=True)
        if hasattr(figure, "savefig"):
            figure.savefig(self._folder / f"{stem}.svg")
        elif hasattr(figure, "to_json"):
            (self._folder / f"{stem}.json").write_text(figure.to_json(), encoding="utf-8")
        else:
            raise TypeError(f"log.figure takes a matplotlib figure or a chart, not {type(figure).__name__}")
        self.count += 1


@dataclass(frozen=True)
class Workbench:
    """What the project's functions have in common: the project, its files, the log, and the champion's own object."""

    project: Project
    source: Path
    log: TrainingLog
    champion: Any

    def seed(self) -> None:
        """Start every source of randomness from the project's seed; before each training, so that each is the same."""
        import numpy as np

        random.seed(self.project.train.seed)
        np.random.seed(self.project.train.seed)


def load_train(bench: Workbench) -> Callable[..., Any]:
    """The project's `train`, its parameters looked at."""
    entry = bench.project.train.entry
    if entry == "auto":
        raise UserCodeFailed(
            'train.entry is "auto", which nothing acts on yet; name a module:function', entry=entry
        )
    key = f"train.entry ({entry})"
    function = load_entry(entry, bench.source, key)
    check_parameters(function, TRAIN_INPUTS, key)
    return function


def load_steps(bench: Workbench) -> list[LoadedStep]:
    """The project's steps in order, their parameters looked at."""
    loaded = []
    earlier: list[str] = []
    for step in bench.project.steps:
        key = step_key(step)
        function = load_entry(step.entry, bench.source, key)
        check_parameters(function, BOTH_INPUTS if step.at == "both" else [*STEP_INPUTS, *earlier], key)
        loaded.append((step, function))
        earlier.append(step.name)
    return loaded


def run_train_steps(
    bench: Workbench, steps: list[LoadedStep], frame: pl.DataFrame, features: list[str], cache: StepCache
) -> pl.DataFrame:
    """Rows after the `at = "train"` steps. Raises UserCodeFailed when one returns no frame or no rows."""
    earlier: dict[str, tuple[str | None, Any]] = {}
    # A matrix has no column names, and steps are about columns.
    kind: Kind = "polars" if bench.project.train.frames == "numpy" else bench.project.train.frames
    for step, function in steps:
        plain: dict[str, Any] = {
            "params": dict(bench.project.train.params),
            "seed": bench.project.train.seed,
            "features": list(features),
            "target": bench.project.model.target,
        }
        asked = {parameter.name for parameter in parameters_of(function)}
        arguments = {name: value for name, value in plain.items() if name in asked}
        named = {name: key for name, (key, _) in earlier.items() if name in asked}
        key = None if None in named.values() else cache.key(f"{step.entry} {kind}", frame, arguments | named)
        found = cache.find(key)
        if found is None:
            available: dict[str, Callable[[], Any]] = {
                "rows": partial(as_kind, frame, kind),
                "log": lambda: bench.log,
                **{name: partial(_same, value) for name, value in plain.items()},
                **{name: partial(_same, value) for name, (_, value) in earlier.items()},
            }
            found = _step_frame(bench, step, function, available)
            cache.keep(key, found)
        frame = found
        earlier[step.name] = (key, as_kind(frame, kind))
    return frame


def _step_frame(
    bench: Workbench, step: StepSection, function: Callable[..., Any], available: dict[str, Callable[[], Any]]
) -> pl.DataFrame:
    what = step_key(step)
    returned = call_by_name(function, available, bench.source, what)
    try:
        frame = from_user(returned, what)
    except BadAnswer as error:
        raise UserCodeFailed(error.message, key=what) from error
    if frame.height == 0:
        raise UserCodeFailed(f"{what} returned no rows", key=what)
    return frame


def call_train(
    bench: Workbench,
    function: Callable[..., Any],
    train: pl.DataFrame,
    validation: pl.DataFrame | None,
    out: Path,
) -> Any:
    """What `train` returns. Both frames hold the features, typed as at serving, and the target."""
    project, kind = bench.project, bench.project.train.frames
    target = project.model.target
    features = [name for name in train.columns if name != target]
    out.mkdir(parents=True, exist_ok=True)
    available: dict[str, Callable[[], Any]] = {
        "train": lambda: _table(train, target, kind),
        "validation": lambda: None if validation is None else _table(validation, target, kind),
        "X": lambda: _features(train, target, kind),
        "y": lambda: _target(train, target, kind),
        "params": lambda: dict(project.train.params),
        "seed": lambda: project.train.seed,
        "features": lambda: features,
        "target": lambda: target,
        "weights": lambda: None,
        "champion": lambda: bench.champion,
        "out": lambda: out,
        "log": lambda: bench.log,
    }
    bench.seed()
    return call_by_name(function, available, bench.source, f"train.entry ({project.train.entry})")


def _table(frame: pl.DataFrame, target: str, kind: Kind) -> Any:
    """`train` or `validation`: a frame with the target; as numpy a pair of features and target."""
    if kind == "numpy":
        return _features(frame, target, kind), _target(frame, target, kind)
    return as_kind(frame, kind)


def _features(frame: pl.DataFrame, target: str, kind: Kind) -> Any:
    features = frame.drop(target)
    if kind == "numpy" and (texts := [name for name, dtype in features.schema.items() if dtype == _text()]):
        raise UserCodeFailed(
            f"the text column {texts[0]!r} has no listed values, so it has no number; leave it out with "
            '[data].exclude, give it values in [contract.features], or receive frames = "polars"',
            column=texts[0],
        )
    return as_kind(features, kind)


def _target(frame: pl.DataFrame, target: str, kind: Kind) -> Any:
    column = frame.get_column(target)
    if kind == "polars":
        return column
    return as_kind(frame.select(target), "pandas")[target] if kind == "pandas" else column.to_numpy()


def _text() -> Any:
    import polars as pl

    return pl.String


def step_key(step: StepSection) -> str:
    """A step as errors name it."""
    return f"step {step.name} ({step.entry})"


def _same(value: Any) -> Any:
    return value
