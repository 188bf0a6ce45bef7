"""Answering again: the logged input through the same version, in a child process without credentials."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from flyball.core.errors import Conflict, Refused, Unavailable
from flyball.operations.opening import Backends

TIMEOUT_SECONDS = 120.0


def replay(backends: Backends, prediction_id: str) -> dict[str, Any]:
    """The logged answer beside today's answer of the same version to the same input, and whether they are identical.

    Raises PredictionNotFound, Conflict when input fields were dropped or hashed before they were written.
    """
    from flyball.backends.executors.local import run_child
    from flyball.operations.tracing import trace_prediction
    from flyball.registry.bundle import fetch, read_manifest
    from flyball.registry.versions import get_version

    found = trace_prediction(backends, prediction_id)
    if found.get("answered") is None:
        raise Conflict(
            f"{prediction_id} was never answered ({found.get('error')}), so there is nothing to compare with"
        )
    with backends.database.read() as conn:
        version = get_version(conn, found["model"], found["answered"])
    manifest = read_manifest(version.digest, backends.blobs)
    missing = [f.name for f in manifest.signature.features if f.name not in found["input"]]
    if missing:
        raise Conflict(
            f"the log of {prediction_id} lacks {', '.join(missing)} ([log] drop or hash), so it can't be replayed"
        )
    bundle = fetch(version.digest, backends.blobs, backends.settings.cache_folder)
    with tempfile.TemporaryDirectory() as folder:
        payload = {"bundle": str(bundle), "digest": version.digest, "rows": [found["input"]]}
        child = run_child(
            "flyball.operations.answering", payload, folder=Path(folder), timeout_seconds=TIMEOUT_SECONDS
        )
    if child.result is None:
        raise Unavailable(
            f"the version could not answer again (exit code {child.exit_code}); see its run's log"
        )
    again = child.result["predictions"][0]
    return {
        "prediction_id": prediction_id,
        "model": found["model"],
        "version": version.number,
        "bundle": version.digest,
        "prediction": found["prediction"],
        "again": again,
        "identical": _same(found["prediction"], again),
    }


def load_predictor(backends: Backends, version: Any) -> Any:
    """The predictor of a version in this process. Raises Refused for a version that brings code of its own."""
    from flyball.registry.bundle import fetch, read_manifest
    from flyball.registry.formats.loading import load_predictor as load

    manifest = read_manifest(version.digest, backends.blobs)
    folder = fetch(version.digest, backends.blobs, backends.settings.cache_folder)
    predictor = load(folder, manifest)
    if predictor.needs_process:
        raise Refused(f"{version.model}@{version.number} brings code of its own; ask a model server instead")
    return predictor


def _same(logged: Any, again: Any) -> bool:
    if isinstance(logged, float) and isinstance(again, float):
        return logged == again or (math.isnan(logged) and math.isnan(again))
    return bool(logged == again)
