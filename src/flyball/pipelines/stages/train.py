"""Training of a run: the project's own code, in a child without stores or credentials."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.durations import parse_duration
from flyball.core.errors import CorruptObject, ObjectNotFound, UserCodeFailed
from flyball.pipelines.calls import ChildLimits, call_child
from flyball.pipelines.stages.job import Given, Job, Made, look_up, step_key
from flyball.pipelines.stages.prepare import ready_data
from flyball.pipelines.stages.source import ready_source
from flyball.registry.bundle import fetch

MOST_STEP_CACHES = 20
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip


def train_model(job: Job, given: Given) -> Made:
    """A fitted model as files, from an earlier run where code, data, parameters, seed and environment are the same."""
    key = _key(job, given)
    if (outputs := look_up(job, key)) is not None:
        return Made(outputs, _facts(outputs), key, is_cached=True)
    ready_data(job, given.prepared)
    outputs = _call(job, given)
    _check_claims(job, given, outputs)
    outputs["files"] = _keep(job, job.bench.path("made"))
    return Made(outputs, _facts(outputs), key)


def ready_model(job: Job, trained: dict[str, Any]) -> Path:
    """The folder with what training made, fetched again where it isn't on this machine."""
    folder = job.bench.path("made")
    wanted = {file["path"]: file for file in trained["files"]}
    if all((folder / path).is_file() for path in wanted):
        return folder
    fresh = job.bench.fresh("made.partial")
    for path, file in wanted.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        job.shop.blobs.fetch_object(file["digest"], target)
    job.bench.fresh("made").rmdir()
    fresh.rename(folder)
    return folder


def _key(job: Job, given: Given) -> str:
    project, train = job.project, job.project.train
    return step_key(
        "train",
        code=given.source["code"],
        entry=train.entry,
        frames=train.frames,
        params=train.params,
        seed=train.seed,
        threads=train.threads,
        refit=train.refit,
        steps=project.steps,
        model=[project.model.task, project.model.target, project.model.positive, project.model.time],
        features=project.data.features,
        protected=project.data.protected,
        exclude=project.data.exclude,
        window=project.monitor.window,
        data=given.prepared["digests"],
        contract=given.prepared["contract"],
        environment=given.environment["digest"],
        champion=given.source["champion"] if given.source["wants_champion"] else None,
    )


def _call(job: Job, given: Given) -> dict[str, Any]:
    payload = training_payload(job, given, job.bench.fresh("made"))
    limits = training_limits(job, parse_duration(job.project.train.timeout))
    return call_child(job.shop, job.run_id, "train", payload, job.bench.folder, limits)


def _check_claims(job: Job, given: Given, outputs: dict[str, Any]) -> None:
    """What measuring rests on is what the project says, whatever a training says of itself. Raises UserCodeFailed.

    Its process runs the project's code: one that claimed to have made other held-out rows, or another model to be
    measured in place of the packaged one, would choose its own metrics.
    """
    has_steps = any(step.at == "train" for step in job.project.steps)
    holds = [
        outputs["has_frames"] == has_steps,
        (outputs["twin"] is not None) == job.project.train.refit,
        has_steps or outputs["features"] == given.prepared["features"],
        has_steps or outputs["contract"] == given.prepared["contract"],
    ]
    if not all(holds):
        raise UserCodeFailed(
            f"what {job.project.train.entry} left behind is not of this project: other rows, columns or another model "
            "than its settings say; training code must not change Flyball's own"
        )


def training_payload(job: Job, given: Given, made: Path) -> dict[str, Any]:
    """What a child that trains is told. made: the folder for what comes of it."""
    project = job.project
    champion = given.source["champion"] if given.source["wants_champion"] else None
    return {
        "source": ready_source(job),
        "project": msgspec.to_builtins(project),
        "prepared": {
            name: given.prepared[name] for name in ("features", "contract", "classes", "positive", "kept")
        },
        "data": str(job.bench.path("data")),
        "held_out": str(job.bench.path("held_out")),
        "made": str(made),
        "champion": None if champion is None else champion_folder(job, champion),
        "step_cache": str(_step_cache(job, given.source["code"])),
        "code": given.source["code"],
        "environment": given.environment["digest"],
    }


def _step_cache(job: Job, code: str) -> Path:
    """A folder for what the steps of this code give. Other code, which could name its files alike, has another.

    The folders of the code that was longest not run are removed.
    """
    folder = job.shop.settings.cache_folder / "steps" / code.removeprefix("sha256:")
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    with suppress(FileNotFoundError):  # another run removes the same ones
        for path in sorted(folder.parent.iterdir(), key=lambda found: found.lstat().st_mtime)[
            :-MOST_STEP_CACHES
        ]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:  # frames of a release that kept those of all code together
                path.unlink()
    return folder


def training_limits(job: Job, timeout: timedelta) -> ChildLimits:
    """What a child that trains may use."""
    train = job.project.train
    variables = dict.fromkeys(_THREAD_VARIABLES, str(train.threads))
    return ChildLimits(
        timeout=timeout,
        memory_mb=train.memory_mb,
        environment={**variables, "PYTHONHASHSEED": str(train.seed)},
    )


def champion_folder(job: Job, champion: dict[str, Any]) -> str:
    """The folder with the champion's files. Raises CorruptObject where the store has not all of them."""
    try:
        return str(fetch(champion["digest"], job.shop.blobs, job.shop.settings.cache_folder))
    except (ObjectNotFound, CorruptObject) as error:
        name = f"{job.request.model}@{champion['number']}"
        raise CorruptObject(
            f"the package of {name}, the champion, is not whole in the object store, so nothing can be held against "
            f"it: {error.message}. Bring the object back from a backup, or put another version into service "
            f"(`flyball rollback {job.request.model}`)",
            version=name,
            digest=champion["digest"],
        ) from error


def _keep(job: Job, folder: Path) -> list[dict[str, Any]]:
    """Every file below a folder as an object: path, digest and size."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            digest = job.shop.blobs.put_file(path)
            name = path.relative_to(folder).as_posix()
            files.append({"path": name, "digest": digest, "size_bytes": path.stat().st_size})
    return files


def _facts(outputs: dict[str, Any]) -> dict[str, Any]:
    facts = {"kind": outputs["kind"], "seconds": outputs["fit_seconds"], "max_rss_mb": outputs["max_rss_mb"]}
    return {**facts, "logged": outputs["logged"]} if outputs["logged"] else facts
