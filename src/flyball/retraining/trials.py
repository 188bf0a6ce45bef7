"""The steps of a retraining that need tables or the project's code: each a child process, each safe to repeat."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.port import ChildResult, open_executor
from flyball.backends.workflows.outcome import WorkflowError, rebuilt
from flyball.core.clock import isoformat
from flyball.core.durations import format_duration, parse_duration
from flyball.core.errors import RunOutOfMemory, RunTimedOut, StepCrashed, WorkflowCancelled
from flyball.judge.choosing import training_start
from flyball.pipelines.source_tree import check_out, read_tree
from flyball.pipelines.stages.source import wants_champion
from flyball.pipelines.workshop import Workshop
from flyball.registry.bundle import fetch
from flyball.retraining.plan import RetrainPlan

CHILD_MODULE = "flyball.retraining.child"
ROWS_FILE = "rows.parquet"
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
    }
    return _call(shop, plan, payload, _store_variables())


def try_windows(shop: Workshop, plan: RetrainPlan) -> dict[str, Any]:
    """What each window of rows would have given on recent windows, by the project's own code.

    Folds need nothing of each other, so two children take every other one.
    """
    if not plan.folds:
        return {}
    _ready_rows(shop, plan)
    tree = read_tree(plan.tree, shop.blobs)
    bench = shop.bench(plan.retraining_id)
    source = bench.fresh("source")
    check_out(tree, source)
    champion = None
    if wants_champion(tree, plan.project.train.entry):
        champion = str(fetch(plan.bundle, shop.blobs, shop.settings.cache_folder))
    shares = [numbers for numbers in _shares(len(plan.folds)) if numbers]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(shares)) as pool:
        parts = list(pool.map(lambda numbers: _try_folds(shop, plan, numbers, source, champion), shares))
    return _together(plan, shares, parts, time.perf_counter() - began)


def _shares(count: int) -> list[list[int]]:
    """The numbers of the folds, dealt out to as many children as there are processors, at most two."""
    children = min(2, os.cpu_count() or 1)
    return [list(range(first, count, children)) for first in range(children)]


def _try_folds(
    shop: Workshop, plan: RetrainPlan, numbers: list[int], source: Path, champion: str | None
) -> dict[str, Any]:
    folder = shop.bench(plan.retraining_id).fresh(f"trial-{numbers[0]}")
    task = {
        "source": str(source),
        "project": plan.project,
        "contract": plan.contract,
        "classes": plan.classes,
        "positive": plan.positive,
        "champion": champion,
        "file": str(_rows_file(shop, plan)),
        "out": str(folder / "out"),
        "names": plan.names,
        "folds": [plan.folds[number] for number in numbers],
    }
    train = plan.project.train
    variables = {**dict.fromkeys(_THREAD_VARIABLES, str(train.threads)), "PYTHONHASHSEED": str(train.seed)}
    return _call(
        shop,
        plan,
        {"kind": "choose", "task": msgspec.to_builtins(task)},
        variables,
        folder=folder,
        timeout=parse_duration(train.timeout),
        memory_mb=train.memory_mb,
    )


def _together(
    plan: RetrainPlan, shares: list[list[int]], parts: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """The parts' losses in the order of the folds."""
    order = [
        (number, part, place)
        for numbers, part in zip(shares, parts, strict=True)
        for place, number in enumerate(numbers)
    ]
    order.sort(key=lambda item: item[0])
    return {
        "losses": {name: [part["losses"][name][place] for _, part, place in order] for name in plan.names},
        "champion": [part["champion"][place] for _, part, place in order],
        "row_counts": [part["row_counts"][place] for _, part, place in order],
        "trainings": sum(part["trainings"] for part in parts),
        "seconds": round(seconds, 3),
    }


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
    """The rows as a file here; the retraining may go on on another machine than it began on."""
    if not _rows_file(shop, plan).is_file():
        gather(shop, plan)


def _rows_file(shop: Workshop, plan: RetrainPlan) -> Path:
    return shop.bench(plan.retraining_id).path("rows") / ROWS_FILE


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
