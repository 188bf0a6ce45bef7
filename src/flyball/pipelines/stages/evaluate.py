"""Evaluation of a run: the packaged model on held-out rows, beside the champion, and before its gates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from flyball.pipelines.calls import ChildLimits, call_child
from flyball.pipelines.hidden import hidden_columns
from flyball.pipelines.stages.job import Given, Job, Made, look_up, step_key
from flyball.pipelines.stages.prepare import ready_beside, ready_data
from flyball.pipelines.stages.train import champion_folder, ready_model
from flyball.registry.bundle import pack, read_folder_manifest

_TRAINED = ("features", "contract", "has_frames", "has_answers", "saved", "twin")


def evaluate_model(job: Job, given: Given) -> Made:
    """The bundle's digest, metrics, slices and verdicts; from an earlier run where all they rest on is the same."""
    key = _key(job, given)
    if (outputs := look_up(job, key)) is not None:
        return Made(outputs, _facts(outputs), key, is_cached=True)
    ready_data(job, given.prepared)
    made = ready_model(job, given.trained)
    champion = champion_of(job, given.source)
    _ready_champions_columns(job, given, champion)
    package = _copy_model(made, given.trained["files"], job.bench.fresh("package"))
    payload = {
        "project": msgspec.to_builtins(job.project),
        "positive": given.prepared["positive"],
        "trained": {name: given.trained[name] for name in _TRAINED},
        "data": str(job.bench.path("data")),
        "held_out": str(job.bench.path("held_out")),
        "made": str(made),
        "package": str(package),
        "champion": champion,
        "is_automatic": job.request.decided_at is not None,
        "progressive": job.request.progressive,
    }
    environment = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": str(job.project.train.threads)}
    limits = ChildLimits(memory_mb=None, environment=environment)
    outputs = call_child(job.shop, job.run_id, "evaluate", payload, job.bench.folder, limits)
    outputs["bundle"] = pack(package, job.shop.blobs)
    outputs["seen"] = given.digest_of("seen.bin")
    for warning in outputs["warnings"]:
        job.bench.write_line(f"warning: {warning}")
    for gate in outputs["gates"]:
        job.bench.write_line(f"gate {gate['metric']}: {gate['outcome']} ({gate['because']})")
    return Made(outputs, _facts(outputs), key)


def _ready_champions_columns(job: Job, given: Given, champion: dict[str, Any] | None) -> None:
    """Beside the held-out rows, what the champion takes and the new model does not: a change may drop a feature."""
    if champion is None:
        return
    manifest = read_folder_manifest(Path(champion["folder"]), champion["digest"])
    taken = {feature.name for feature in manifest.signature.features}
    ready_beside(job, given.prepared["snapshot"], sorted(taken - set(given.trained["features"])))


def _copy_model(made: Path, files: list[dict[str, Any]], package: Path) -> Path:
    """The model's files, as they were kept: a link that training left there would be followed with all our rights."""
    for path in (file["path"] for file in files if file["path"].startswith("model/")):
        target = package / path.removeprefix("model/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made / path, target, follow_symlinks=False)
    return package


def _key(job: Job, given: Given) -> str:
    project = job.project
    return step_key(
        "evaluate",
        files=[[file["path"], file["digest"]] for file in given.trained["files"]],
        test=given.prepared["digests"]["test"],
        train=given.prepared["digests"]["train"],
        model=project.model,
        gates=project.gates,
        decision=project.decision,
        protected=project.data.protected,
        hidden=sorted(hidden_columns(project.log)),
        window=project.monitor.window,
        contract=project.contract.features,
        seed=project.train.seed,
        champion=given.source["champion"],
        is_automatic=job.request.decided_at is not None,
        progressive=job.request.progressive,
    )


def champion_of(job: Job, source: dict[str, Any]) -> dict[str, Any] | None:
    """The version to compare with: its files, and which rows it was trained on, both fetched for the child."""
    champion = source["champion"]
    if champion is None:
        return None
    seen = source["champion_lineage"].get("trained_rows")
    seen_path = None
    if seen is not None and job.shop.blobs.has_object(seen):
        seen_path = job.bench.path("champion-seen.bin")
        seen_path.unlink(missing_ok=True)
        job.shop.blobs.fetch_object(seen, seen_path)
    return {
        "number": champion["number"],
        "folder": champion_folder(job, champion),
        "digest": champion["digest"],
        "seen": None if seen_path is None else str(seen_path),
        "trained_until": source["champion_lineage"].get("trained_until"),
    }


def _facts(outputs: dict[str, Any]) -> dict[str, Any]:
    metrics = {name: f"{measured['value']:.4g}" for name, measured in outputs["metrics"].items()}
    outcomes = [gate["outcome"] for gate in outputs["gates"]]
    gates = f"{outcomes.count('pass')} of {len(outcomes)} passed"
    return {"bundle": outputs["bundle"], **dict(list(metrics.items())[:4]), "gates": gates}
