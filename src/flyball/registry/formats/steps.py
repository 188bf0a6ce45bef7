"""Steps with `at = "both"`: the project's functions on each request, before the model, in a model process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.errors import BadAnswer, BadBundle
from flyball.registry.formats.frames import as_kind, from_user
from flyball.registry.formats.source import load_entry
from flyball.registry.manifest import StepSpec

if TYPE_CHECKING:
    import polars as pl


class StepSource(msgspec.Struct, frozen=True, kw_only=True):
    """A step as the project file names it; `params` and `seed` as training had them."""

    name: str
    entry: str
    params: dict[str, Any] = {}
    seed: int = 0


class SilentLog:
    """`log` of steps that run on requests: there is no run to note anything in."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Takes a number and keeps nothing."""

    def figure(self, name: str, figure: Any) -> None:
        """Takes a figure and keeps nothing."""


class StepChain:
    """A bundle's steps, loaded. Parameters are filled by name, as in training: rows, params, seed, features, target,
    log, and earlier steps' results."""

    def __init__(self, steps: Sequence[StepSpec], features: Sequence[str], target: str, source: Path) -> None:
        self._steps = [(step, _function(step, source)) for step in steps]
        self._features = list(features)
        self._target = target

    def run(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame after all steps: as many rows as before. Raises BadAnswer; the step's own errors pass through."""
        earlier: dict[str, Any] = {}
        for step, function in self._steps:
            height = frame.height
            available = {
                "rows": as_kind(frame, step.frames),
                "params": dict(step.params),
                "seed": step.seed,
                "features": list(self._features),
                "target": self._target,
                "log": SilentLog(),
                **earlier,
            }
            names = inspect.signature(function).parameters
            returned = function(**{name: available[name] for name in names if name in available})
            frame = from_user(returned, f"step {step.name}")
            if frame.height != height:
                raise BadAnswer(f"step {step.name} returned {frame.height} rows for {height}")
            earlier[step.name] = returned
        return frame


def _function(step: StepSpec, source: Path) -> Callable[..., Any]:
    function = load_entry(step.entry, source)
    if not callable(function):
        raise BadBundle(f"step {step.name}: {step.entry} is no function")
    return function  # type: ignore[no-any-return]  # the user's own type
