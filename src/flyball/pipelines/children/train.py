"""Child `train`: the project's steps and `train` on the training rows, and the model they give as files.

It runs without stores and credentials: rows come as files, and everything it makes is left in one folder, `made`:
`model` (the package's files), `evaluated` (with `refit`: those of the model that is measured in its place), `out`
(extra files of train), `answers.parquet` (answers on left-out blocks of the training rows), `seen.bin` (keys of the
rows it was fitted on), and `train.parquet` and `test.parquet` where `at = "train"` steps made other rows of them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.errors import UserCodeFailed
from flyball.core.project import Project
from flyball.pipelines.children.crossing import cross_validate
from flyball.pipelines.children.fitting import (
    LoadedStep,
    TrainingLog,
    Workbench,
    load_steps,
    load_train,
    run_train_steps,
)
from flyball.pipelines.children.maker import PROBED_ROWS, ModelMaker, open_champion
from flyball.pipelines.children.step_cache import StepCache
from flyball.pipelines.seen_rows import encode_seen
from flyball.pipelines.user_code import enter_source

if TYPE_CHECKING:
    import polars as pl


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` found: features, the columns that rows keep, the contract, and the classes."""

    features: list[str]
    kept: list[str]
    contract: Contract
    classes: list[Any] | None
    positive: Any


class TrainTask(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` is asked: a project, its files, prepared rows, and where the model goes."""

    source: str
    project: Project
    prepared: Prepared
    data: str
    held_out: str
    made: str
    champion: str | None
    step_cache: str
    code: str
    environment: str


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """Facts about the model that was made. Raises UserCodeFailed."""
    task = msgspec.convert({name: payload[name] for name in TrainTask.__struct_fields__}, TrainTask)
    made, ready = Path(task.made), get_ready(task)
    bench, parts, before, cache = ready.bench, ready.parts, ready.before, ready.cache
    features, contract = ready.features, ready.contract
    rows, maker = parts["train"], ready.make_maker(bench)

    began = time.perf_counter()
    estimator = maker.fit(rows, parts.get("validation"), made / "out")
    fit_seconds = time.perf_counter() - began
    saved = maker.save(estimator, rows, made / "model")
    maker.saved_answers(estimator, saved, made / "model", rows.head(PROBED_ROWS))
    answers = cross_validate(maker, parts, fit_seconds)
    if answers is not None:
        answers.write_parquet(made / "answers.parquet")
    twin = None
    if before or task.project.train.refit:
        # Only now: nothing that is trained above has seen the held-out rows.
        test = read_test(task)
        test = run_train_steps(bench, before, test, task.prepared.features, cache) if before else test
        if before:
            rows.write_parquet(made / "train.parquet")
            test.write_parquet(made / "test.parquet")
        if task.project.train.refit:
            shutil.move(made / "model", made / "evaluated")
            twin, together = saved, _together({**parts, "test": test})
            saved = maker.save(maker.fit(together, None), together, made / "model")
    _write_seen(task, made)
    return {
        "kind": saved.predictor.kind,
        "saved": msgspec.to_builtins(saved),
        "twin": None if twin is None else msgspec.to_builtins(twin),
        "features": features,
        "contract": msgspec.to_builtins(contract),
        "has_frames": bool(before),
        "has_answers": answers is not None,
        "refit": twin is not None,
        "fit_seconds": round(fit_seconds, 3),
        "logged": bench.log.count,
    }


@dataclass(frozen=True)
class Ready:
    """All that is there before a training: rows after the steps before it, and the project's function.

    before: the `at = "train"` steps. features, contract: of a request.
    """

    task: TrainTask
    bench: Workbench
    function: Callable[..., Any]
    parts: dict[str, pl.DataFrame]
    before: list[LoadedStep]
    cache: StepCache
    features: list[str]
    contract: Contract

    def make_maker(self, bench: Workbench) -> ModelMaker:
        """What makes models of these rows."""
        prepared, rows = self.task.prepared, self.parts["train"]
        return ModelMaker(bench, self.function, self.contract, prepared.classes, prepared.positive, rows)


def get_ready(task: TrainTask) -> Ready:
    """What a training needs, from the project's files and the prepared rows. Raises UserCodeFailed."""
    source = Path(task.source).resolve()
    enter_source(source)
    log = TrainingLog(Path(task.made) / "out")
    bench = Workbench(task.project, source, log, open_champion(task.champion, source))
    steps = load_steps(bench)
    function = load_train(bench)
    parts = _read_parts(task)
    before = [item for item in steps if item[0].at == "train"]
    features, contract = task.prepared.features, task.prepared.contract
    cache = StepCache(Path(task.step_cache), task.code, task.environment)
    if before:
        parts = {name: run_train_steps(bench, before, part, features, cache) for name, part in parts.items()}
        features, contract = _request_columns(task, parts)
    return Ready(task, bench, function, parts, before, cache, features, contract)


def _read_parts(task: TrainTask) -> dict[str, pl.DataFrame]:
    """Training and, if the split has one, validation rows."""
    import polars as pl

    paths = {name: Path(task.data) / f"{name}.parquet" for name in ("train", "validation")}
    return {name: pl.read_parquet(path) for name, path in paths.items() if path.is_file()}


def read_test(task: TrainTask) -> pl.DataFrame:
    """The held-out rows: read when training is over, to check the package on, or to train on in a refit."""
    import polars as pl

    return pl.read_parquet(Path(task.held_out) / "test.parquet")


def _together(parts: dict[str, pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(parts.values(), how="vertical_relaxed")


def _request_columns(task: TrainTask, parts: dict[str, pl.DataFrame]) -> tuple[list[str], Contract]:
    """Features and contract of requests, which carry what the `at = "train"` steps return.

    Raises UserCodeFailed when the target is gone or no feature is left.
    """
    from flyball.data.contracts import infer_contract

    project, train = task.project, parts["train"]
    model, data = project.model, project.data
    last = [step for step in project.steps if step.at == "train"][-1]
    if model.target not in train.columns:
        raise UserCodeFailed(
            f"step {last.name} ({last.entry}) returned no column {model.target!r}; keep the target",
            step=last.name,
        )
    others = {model.target, model.entity, model.time, *data.exclude}
    others |= {name for name in data.protected if name not in data.features}
    features = [name for name in train.columns if name not in others]
    if not features:
        raise UserCodeFailed(f"step {last.name} ({last.entry}) returned no features", step=last.name)
    inferred = infer_contract(train, features).features
    rules = {name: project.contract.features.get(name, inferred[name]) for name in features}
    return features, Contract(features=rules)


def _write_seen(task: TrainTask, made: Path) -> None:
    """Keys of the prepared rows that the packaged model was fitted on; validation rows count, they stop trainings."""
    model = task.project.model
    columns = {*task.prepared.features, model.target, model.entity, model.time} - {None}
    parts = _read_parts(task)
    if task.project.train.refit:
        parts["test"] = read_test(task)
    (made / "seen.bin").write_bytes(
        encode_seen(_together(parts), [name for name in columns if name is not None])
    )
