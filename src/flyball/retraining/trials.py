"""The steps of a retraining that need tables or the project's code: each a child process, each safe to repeat."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.port import ChildResult, open_executor
from flyball.backends.workflows.outcome import WorkflowError, rebuilt
from flyball.core.clock import isoformat
from flyball.core.durations import format_duration, parse_duration
from flyball.core.errors import RunOutOfMemory, RunTimedOut, StepCrashed, WorkflowCancelled
from flyball.judge.choosing import training_start
from flyball.pipelines.source_tree import SourceTree, check_out, code_digest, read_tree
from flyball.pipelines.stages.source import wants_champion
from flyball.pipelines.workshop import Workshop
from flyball.registry.bundle import fetch
from flyball.retraining.folds import FoldsTask, Training, TrialRows
from flyball.retraining.losses import find_losses, keep_losses, list_trainings, read_losses
from flyball.retraining.plan import RetrainPlan

CHILD_MODULE = "flyball.retraining.child"
ROWS_FILE, TRIAL_FILE, LOSSES_FILE = "rows.parquet", "trial.json", "losses.jsonl"
# As many trainings are seldom worth a second child, which imports the project's libraries again.
ONE_CHILD = 6
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
# Our own code reads stores with the credentials of whoever runs; the project's code never gets them.
_STORE_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "GCS_")


def gather(shop: Workshop, plan: RetrainPlan) -> dict[str, Any]:
    """Write every row that may train into the retraining's folder; facts about them."""
    project = plan.project
    shop.bench(plan.retraining_id).fresh("rows")
    task = {
        "origin": project.retrain.from_,
        "model": project.model,
        "data": project.data,
        "log": project.log,
        "features": plan.features,
        "has_train_steps": any(step.at == "train" for step in project.steps),
        "root_snapshot": plan.root_snapshot,
        "folder": plan.folder,
        "champion": plan.champion,
        "classes": plan.classes,
        "positive": plan.positive,
        "decided_at": plan.decided_at,
        "rows_until": plan.rows_until,
        "outcome_delay_seconds": parse_duration(project.data.outcome_delay).total_seconds(),
        "held": plan.held,
    }
    payload = {
        "kind": "rows",
        "task": msgspec.to_builtins(task),
        "blobs": shop.blobs.url,
        "tables": shop.settings.objects_url.rstrip("/") + "/tables",
        "file": str(_rows_file(shop, plan)),
        "trial": msgspec.to_builtins(_folds_task(plan)),
        "trial_file": str(_trial_file(shop, plan)),
    }
    return _call(shop, plan, payload, _store_variables())


def _folds_task(plan: RetrainPlan) -> FoldsTask:
    project = plan.project
    return FoldsTask(
        folds=plan.folds,
        names=plan.names,
        columns=[*plan.contract.features, project.model.target],
        least_classes=0 if project.model.task == "regression" else len(plan.classes or []),
        has_steps=bool(project.steps),
    )


def try_windows(shop: Workshop, plan: RetrainPlan) -> dict[str, Any]:
    """What each window of rows would have given on recent windows, by the project's own code.

    Only what is not known from an earlier trial is trained: a week later, the newest fold.
    """
    if not plan.folds:
        return {}
    began = time.perf_counter()
    _ready_rows(shop, plan)
    rows = msgspec.json.decode(_trial_file(shop, plan).read_bytes(), type=TrialRows)
    tree = read_tree(plan.tree, shop.blobs)
    champion = plan.bundle if wants_champion(tree, plan.project.train.entry) else None
    trainings = list_trainings(plan, rows, code=code_digest(tree), champion=champion)
    asked = {training.key: training for training in trainings.values()}
    for folder in shop.bench(plan.retraining_id).folder.glob("trial-*"):  # of a process that was killed
        _keep_losses(shop, plan, folder, asked)
    with shop.database.read() as conn:
        losses = find_losses(conn, asked)
    known = len(losses)
    losses |= _train(shop, plan, tree, champion, [asked[key] for key in asked if key not in losses])

    def loss_of(number: int, name: str) -> float | None:
        training = trainings.get((number, name))
        return None if training is None else losses[training.key]

    return {
        "losses": {name: [loss_of(number, name) for number in range(len(plan.folds))] for name in plan.names},
        "champion": [fold.champion for fold in rows.folds],
        "row_counts": [fold.row_count for fold in rows.folds],
        "trainings": len(asked) - known,
        "known": known,
        "seconds": round(time.perf_counter() - began, 3),
    }


def _train(
    shop: Workshop, plan: RetrainPlan, tree: SourceTree, champion: str | None, trainings: list[Training]
) -> dict[str, float | None]:
    """The losses of trainings by key. They need nothing of each other, so many are dealt out to two children."""
    if not trainings:
        return {}
    source = shop.bench(plan.retraining_id).fresh("source")
    check_out(tree, source)
    given = None if champion is None else str(fetch(champion, shop.blobs, shop.settings.cache_folder))
    children = 1 if len(trainings) <= ONE_CHILD else min(2, os.cpu_count() or 1)
    with ThreadPoolExecutor(children) as pool:
        parts = pool.map(
            lambda first: _train_share(shop, plan, source, given, first, trainings[first::children]),
            range(children),
        )
        return {key: loss for part in parts for key, loss in part.items()}


def _train_share(
    shop: Workshop, plan: RetrainPlan, source: Path, champion: str | None, number: int, share: list[Training]
) -> dict[str, float | None]:
    folder = shop.bench(plan.retraining_id).fresh(f"trial-{number}")
    task = {
        "source": str(source),
        "project": plan.project,
        "contract": plan.contract,
        "classes": plan.classes,
        "positive": plan.positive,
        "champion": champion,
        "file": str(_rows_file(shop, plan)),
        "out": str(folder / "out"),
        "losses": str(folder / LOSSES_FILE),
        "trainings": share,
    }
    train = plan.project.train
    variables = {**dict.fromkeys(_THREAD_VARIABLES, str(train.threads)), "PYTHONHASHSEED": str(train.seed)}
    try:
        _call(
            shop,
            plan,
            {"kind": "train", "task": msgspec.to_builtins(task)},
            variables,
            folder=folder,
            timeout=parse_duration(train.timeout),
            memory_mb=train.memory_mb,
            confinement=Confinement(
                hidden=shop.settings.state_paths,
                read=[str(_rows_file(shop, plan)), *([champion] if champion else [])],
                write=[str(source), str(folder)],
            ),
        )
    finally:  # what was trained before an end too soon stays known
        losses = _keep_losses(shop, plan, folder, {training.key for training in share})
    if missing := len(share) - len(losses):
        raise StepCrashed(
            f"train of a retraining ended without the losses of {missing} trainings; see its log",
            step="train",
        )
    return losses


def _keep_losses(
    shop: Workshop, plan: RetrainPlan, folder: Path, keys: Collection[str]
) -> dict[str, float | None]:
    """Keep what a child has written so far; the losses by key."""
    losses = read_losses(folder / LOSSES_FILE, keys)
    if losses:
        with shop.database.write() as conn:
            keep_losses(conn, losses, plan.retraining_id, shop.clock.now())
    return {loss.key: loss.loss for loss in losses}


def keep_snapshot(shop: Workshop, plan: RetrainPlan, name: str) -> dict[str, Any]:
    """Keep the rows of the chosen window; its digest, and how many of them are newest enough for the gates."""
    _ready_rows(shop, plan)
    window = parse_duration(plan.project.monitor.window)
    start = training_start(name, (plan.rows_until - window).timestamp())
    payload = {
        "kind": "snapshot",
        "file": str(_rows_file(shop, plan)),
        "start": None if start == float("-inf") else isoformat(datetime.fromtimestamp(start, UTC)),
        "test_until": isoformat(plan.rows_until),
        "window_seconds": window.total_seconds(),
        "least_test_rows": plan.project.monitor.min_rows,
        "source": f"retraining {plan.retraining_id}: {name}, rows before {plan.rows_until:%Y-%m-%d}",
        "blobs": shop.blobs.url,
        "now": isoformat(shop.clock.now()),
    }
    return _call(shop, plan, payload, _store_variables())


def _ready_rows(shop: Workshop, plan: RetrainPlan) -> None:
    """The rows as files here; the retraining may go on on another machine than it began on."""
    if not (_rows_file(shop, plan).is_file() and _trial_file(shop, plan).is_file()):
        gather(shop, plan)


def _rows_file(shop: Workshop, plan: RetrainPlan) -> Path:
    return shop.bench(plan.retraining_id).path("rows") / ROWS_FILE


def _trial_file(shop: Workshop, plan: RetrainPlan) -> Path:
    return shop.bench(plan.retraining_id).path("rows") / TRIAL_FILE


def _store_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_STORE_VARIABLES)}


def _call(
    shop: Workshop,
    plan: RetrainPlan,
    payload: dict[str, Any],
    variables: dict[str, str],
    *,
    folder: Path | None = None,
    timeout: timedelta = timedelta(hours=1),
    memory_mb: int | None = None,
    confinement: Confinement | None = None,
) -> dict[str, Any]:
    bench = shop.bench(plan.retraining_id)
    kind = payload["kind"]
    result = open_executor(shop.settings.executor_url).run(
        CHILD_MODULE,
        payload,
        folder=folder or bench.folder,
        timeout_seconds=timeout.total_seconds(),
        environment=variables,
        memory_limit_mb=memory_mb,
        confinement=confinement,
        on_line=lambda line: bench.write_line(f"[{kind}] {line}"),
    )
    return _outcome(kind, result, timeout)


def _outcome(kind: str, result: ChildResult, timeout: timedelta) -> dict[str, Any]:
    if result.cancelled:
        raise WorkflowCancelled("the retraining was cancelled")
    if result.timed_out:
        limit = format_duration(timeout)
        raise RunTimedOut(f"{kind} of a retraining was ended after {limit}; raise [train].timeout", step=kind)
    if result.out_of_memory:
        raise RunOutOfMemory(
            f"{kind} of a retraining ran out of memory at {result.max_rss_mb:.0f} MB", step=kind
        )
    if result.result is None:
        how = f"signal {-result.exit_code}" if result.exit_code < 0 else f"exit code {result.exit_code}"
        raise StepCrashed(
            f"{kind} of a retraining ended with {how} and without a result; see its log", step=kind
        )
    if "error" in result.result:
        raise rebuilt(msgspec.convert(result.result["error"], WorkflowError))
    value: dict[str, Any] = result.result["value"]
    return {**value, "seconds": round(result.seconds, 3)}
