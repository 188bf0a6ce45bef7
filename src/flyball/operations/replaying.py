"""Answering again: the logged input through the same version, in a child process without credentials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import Conflict, Unavailable
from flyball.core.records import label_text
from flyball.operations.opening import Backends

if TYPE_CHECKING:
    from flyball.core.project import Project
    from flyball.registry.manifest import Signature

TIMEOUT_SECONDS = 120.0
# One row is summed in another order than a batch, so the last bits of a linear model may differ.
TOLERANCE = 1e-9


def replay(backends: Backends, prediction_id: str) -> dict[str, Any]:
    """The logged answer beside today's answer of the same version to the same input.

    `identical`: prediction and scores are the same to the last bit. `agrees`: they are so within 1e-9 of their size;
    `difference` is the largest one between two numbers, None where there are none to compare.
    Raises PredictionNotFound, Conflict when input fields were dropped or hashed before they were written.
    """
    from flyball.operations.tracing import trace_prediction
    from flyball.registry.bundle import read_manifest
    from flyball.registry.routes import get_deployment, project_of
    from flyball.registry.versions import get_version

    found = trace_prediction(backends, prediction_id)
    if found["answered"] is None:
        raise Conflict(
            f"{prediction_id} was never answered ({found['error']}), so there is nothing to compare with"
        )
    with backends.database.read() as conn:
        version = get_version(conn, found["model"], found["answered"])
        project = project_of(get_deployment(conn, found["model"], found["revision"]))
    signature = read_manifest(version.digest, backends.blobs).signature
    _check_input(prediction_id, project, signature)
    answer = _answer(backends, version.digest, found["input"], project.serve.memory_mb)
    again = _decide(project, signature, answer)
    difference = _difference(found, again, answer["scores"])
    same = _same_label(found["prediction"], again)
    return {
        "prediction_id": prediction_id,
        "model": found["model"],
        "version": version.number,
        "bundle": version.digest,
        "prediction": found["prediction"],
        "again": again,
        "identical": same and not difference,
        "agrees": (same or isinstance(again, float)) and (difference or 0.0) <= TOLERANCE,
        "difference": difference,
    }


def load_predictor(backends: Backends, version: Any) -> Any:
    """The predictor of a version in this process. Raises NeedsModelProcess for one that brings code of its own."""
    from flyball.registry.bundle import fetch, read_manifest
    from flyball.registry.formats.loading import load_predictor as load

    manifest = read_manifest(version.digest, backends.blobs)
    return load(fetch(version.digest, backends.blobs, backends.settings.cache_folder), manifest)


def _check_input(prediction_id: str, project: Project, signature: Signature) -> None:
    hidden = {*project.log.drop, *project.log.hash} & {feature.name for feature in signature.features}
    if hidden:
        raise Conflict(
            f"the log of {prediction_id} holds no {', '.join(sorted(hidden))} as it came ([log] drop or hash), "
            "so it can't be answered again",
            features=sorted(hidden),
        )


def _answer(backends: Backends, digest: str, row: dict[str, Any], memory_mb: int) -> dict[str, Any]:
    from flyball.backends.executors.confine import Confinement
    from flyball.backends.executors.local import run_child
    from flyball.registry.bundle import fetch

    bundle = fetch(digest, backends.blobs, backends.settings.cache_folder)
    lines: list[str] = []
    with ScratchFolder("replay") as folder:
        child = run_child(
            "flyball.operations.answering",
            {"bundle": str(bundle), "rows": [row]},
            folder=folder,
            timeout_seconds=TIMEOUT_SECONDS,
            memory_limit_mb=memory_mb,
            confinement=Confinement(hidden=backends.settings.state_paths, read=[str(bundle)]),
            on_line=lines.append,
        )
    if child.result is None:
        said = f": {lines[-1][:300]}" if lines else ""
        raise Unavailable(f"the version could not answer again (exit code {child.exit_code}){said}")
    return {"prediction": child.result["predictions"][0], "scores": (child.result["scores"] or [None])[0]}


def _decide(project: Project, signature: Signature, answer: dict[str, Any]) -> Any:
    """The answer after the decision threshold that was in force, as the model server applies it."""
    from flyball.registry.routes import threshold_of

    threshold, classes = threshold_of(project.decision), signature.classes
    if threshold is None or project.model.task != "binary" or not answer["scores"] or not classes:
        return answer["prediction"]
    positive = project.model.positive if project.model.positive is not None else classes[-1]
    if positive not in classes or len(classes) != 2:
        return answer["prediction"]
    index = classes.index(positive)
    return classes[index] if answer["scores"][index] >= threshold else classes[1 - index]


def _same_label(logged: Any, again: Any) -> bool:
    # The log holds classes as text.
    return bool(logged == (label_text(again) if isinstance(logged, str) else again))


def _difference(found: dict[str, Any], again: Any, scores: list[float] | None) -> float | None:
    """The largest difference between numbers of both answers, relative where they are larger than 1."""
    pairs = list(zip(found["scores"] or [], scores or [], strict=False))
    if isinstance(found["prediction"], float) and isinstance(again, int | float):
        pairs.append((found["prediction"], float(again)))
    if not pairs:
        return None
    return max(abs(old - new) / max(1.0, abs(old)) if math.isfinite(new) else math.inf for old, new in pairs)
