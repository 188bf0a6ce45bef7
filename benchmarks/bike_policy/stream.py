"""The example's rows, its own training function and its own settings, for offline simulations of the loop."""

from __future__ import annotations

import importlib.util
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from flyball.core.project import Project

DAY = 86_400.0
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "bike_sharing"
STREAM_START = datetime(2011, 7, 1, tzinfo=UTC).timestamp()
FEATURES = [
    "season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed",
]  # fmt: skip
Values = NDArray[np.float64]


def day_means(at: Values, values: Values) -> list[float]:
    """The mean of `values` on each day (UTC) that has any, oldest first: one observation of a shadow rollout each."""
    days, inverse = np.unique(np.floor(at / DAY), return_inverse=True)
    means: list[float] = (
        (np.bincount(inverse, weights=values) / np.bincount(inverse)).tolist() if len(days) else []
    )
    return means


def read_project() -> Project:
    """The example's flyball.toml, as the program itself reads it."""
    with (EXAMPLE / "flyball.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), Project)


def read_rows(shuffle_seed: int | None = None) -> pl.DataFrame:
    """All rows in order of time; with a seed, the same moments with the other columns dealt out anew."""
    rows = pl.read_parquet(EXAMPLE / "data" / "bike_sharing_hourly.parquet").sort("ts")
    if shuffle_seed is None:
        return rows
    order = np.random.default_rng(shuffle_seed).permutation(rows.height)
    return rows.select("ts").hstack(rows.drop("ts")[order])


class Stream:
    """Rows as arrays, and models trained on any stretch of them; each training is done once."""

    def __init__(self, rows: pl.DataFrame, project: Project) -> None:
        self.project = project
        self.at: Values = rows["ts"].dt.epoch("us").to_numpy() / 1e6
        self.y: Values = rows["cnt"].to_numpy().astype(np.float64)
        self.x: Values = rows.select(FEATURES).cast(pl.Float64).to_numpy()
        self._rows = rows.select([*FEATURES, "cnt"])
        self._train = _load_train()
        self._answers: dict[tuple[Any, ...], Values] = {}

    def between(self, start: float, until: float) -> NDArray[np.bool_]:
        """Which rows have start <= event time < until."""
        return (self.at >= start) & (self.at < until)

    def answers(self, start: float, until: float, *, seed: int | None = None) -> Values:
        """Answers for every row by a model trained on the rows of a stretch."""
        seed = self.project.train.seed if seed is None else seed
        key = (start, until, seed)
        if key not in self._answers:
            self._answers[key] = self._fit(self.between(start, until), seed)
        return self._answers[key]

    def held_out(self, start: float, until: float, folds: NDArray[np.int64]) -> Values:
        """Answers for the rows of a stretch, each by a model that was trained on the other folds."""
        rows = np.flatnonzero(self.between(start, until))
        answers = np.empty(rows.size)
        for fold in np.unique(folds):
            chosen = np.zeros(self.at.size, dtype=bool)
            chosen[rows[folds != fold]] = True
            answers[folds == fold] = self._fit(chosen, self.project.train.seed)[rows[folds == fold]]
        return answers

    def columns(self, rows: NDArray[np.bool_]) -> dict[str, Values]:
        """The features of some rows, by name."""
        return {name: self.x[rows, i] for i, name in enumerate(FEATURES)}

    def _fit(self, chosen: NDArray[np.bool_], seed: int) -> Values:
        frame = self._rows.filter(pl.Series(chosen))
        model = self._train(frame, FEATURES, "cnt", self.project.train.params, seed)
        return np.asarray(model.predict(self.x), dtype=np.float64)


def _load_train() -> Any:
    spec = importlib.util.spec_from_file_location("bike_train", EXAMPLE / "train.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.train
