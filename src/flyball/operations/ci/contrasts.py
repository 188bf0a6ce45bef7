"""A run's package beside others, in a child: rows prepared again, packages fetched, answers compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flyball.core.digests import digest_json
from flyball.operations.ci.keeping import made_once
from flyball.operations.opening import Backends
from flyball.pipelines.calls import ChildLimits, call_child
from flyball.pipelines.environment import read_environment
from flyball.pipelines.request import read_request
from flyball.pipelines.runs import Run
from flyball.pipelines.stages.job import Job
from flyball.pipelines.stages.prepare import ready_beside, ready_data
from flyball.pipelines.workshop import Workshop
from flyball.registry.bundle import fetch, read_manifest

# Raise it when the contrast gives something else for the same packages and rows.
_VERSION = 4


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A package to compare with, and what is known of its training: as a version's lineage has it."""

    name: str
    digest: str
    trained_rows: str | None
    trained_until: str | None


def side_of(name: str, digest: str, lineage: dict[str, Any]) -> Side:
    """A side, from a bundle and a lineage."""
    return Side(
        name=name,
        digest=digest,
        trained_rows=lineage.get("trained_rows"),
        trained_until=lineage.get("trained_until"),
    )


def contrast_run(backends: Backends, shop: Workshop, run: Run, others: list[Side]) -> dict[str, Any]:
    """What differs between a finished run's package and others, by name; see `pipelines.children.contrasting`.

    Raises what the child raises.
    """
    result, request = run.result or {}, read_request(run.request)
    now = side_of("now", result["digest"], result["lineage"])
    job = Job(shop, run.id, request)

    def make() -> dict[str, Any]:
        test, beside = _held_out(job, result, now, others)
        payload = {
            "project": msgspec.to_builtins(job.project),
            "positive": result["positive"],
            "test": str(test),
            "beside": None if beside is None else str(beside),
            "now": _contestant(job, now),
            "others": [_contestant(job, other) for other in others],
        }
        environment = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": str(job.project.train.threads)}
        limits = ChildLimits(environment=environment)
        try:
            return call_child(shop, run.id, "contrast", payload, job.bench.folder, limits)
        finally:
            job.bench.clear()

    return made_once(backends, _key(job, result, now, others), "contrast", make)[0]


def _key(job: Job, result: dict[str, Any], now: Side, others: list[Side]) -> str:
    project = job.project
    rests_on = {
        "now": now,
        "others": others,
        "snapshot": result["snapshot"],
        "split": job.split,
        "project": [
            project.model,
            project.gates,
            project.decision,
            project.data,
            project.monitor.window,
            project.log,
        ],
        "seed": project.train.seed,
        "environment": read_environment().digest,
    }
    return digest_json({"step": "contrast", "version": _VERSION, "inputs": msgspec.to_builtins(rests_on)})


def _held_out(job: Job, result: dict[str, Any], now: Side, others: list[Side]) -> tuple[Path, Path | None]:
    """The file with the held-out rows, as requests of the new package have them, and one with what the others take."""
    taken = {name for side in others for name in _features(job, side)} - _features(job, now)
    beside = ready_beside(job, result["snapshot"], sorted(taken))
    if beside is None:
        ready_data(job, {"snapshot": result["snapshot"], "digests": None})
    if result["held_out"] is not None:
        test = job.bench.path("contrast-test.parquet")  # steps at training have made other rows of them
        job.shop.blobs.fetch_object(result["held_out"], test)
        return test, None
    return job.bench.path("held_out") / "test.parquet", beside


def _features(job: Job, side: Side) -> set[str]:
    return {feature.name for feature in read_manifest(side.digest, job.shop.blobs).signature.features}


def _contestant(job: Job, side: Side) -> dict[str, Any]:
    seen: Path | None = None
    if side.trained_rows is not None and job.shop.blobs.has_object(side.trained_rows):
        # By the rows and not by the package: two trainings on other rows may give the same bytes.
        seen = job.bench.path(f"seen-{side.trained_rows.removeprefix('sha256:')}.bin")
        seen.unlink(missing_ok=True)
        job.shop.blobs.fetch_object(side.trained_rows, seen)
    return {
        "name": side.name,
        "folder": str(fetch(side.digest, job.shop.blobs, job.shop.settings.cache_folder)),
        "digest": side.digest,
        "seen": None if seen is None else str(seen),
        "trained_until": side.trained_until,
    }
