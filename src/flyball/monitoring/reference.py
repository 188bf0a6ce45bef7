"""What a version promised when it was trained: the reference in its bundle that windows are compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.contract import Contract
from flyball.core.errors import Corrupt
from flyball.core.project import Task
from flyball.judge.causes.residuals import ExpectedLoss
from flyball.judge.drift.performance import PerformanceReference
from flyball.judge.drift.profile import Reference, Summary
from flyball.judge.drift.statistics import compare, drift_scores
from flyball.monitoring.answers import AnswerShape, shape_of
from flyball.registry.bundle import read_manifest

if TYPE_CHECKING:
    from flyball.registry.bundle import BundleManifest

REFERENCE_FORMAT = 1


class ReferenceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One block of the training rows, as long as a window: what a healthy window of this version looks like."""

    start: datetime
    end: datetime
    rows: int
    loss: float | None
    inputs: Summary
    predictions: Summary


class MonitorReference(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle's reference.json, format 1."""

    format: int
    task: Task
    loss: str
    rows: int
    inputs: Reference
    predictions: Reference
    performance: PerformanceReference | None = None
    expected: ExpectedLoss | None = None
    windows: list[ReferenceWindow] = []
    from_: datetime | None = msgspec.field(name="from", default=None)
    until: datetime | None = None


class Standard(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is held to. `reference` is None for a version without one: then only facts are judged."""

    digest: str
    shape: AnswerShape
    contract: Contract
    reference: MonitorReference | None
    input_scores: list[dict[str, float]] = []
    prediction_scores: list[dict[str, float]] = []


def load_standard(digest: str, blobs: BlobStore) -> Standard:
    """The standard of a bundle. Bundles never change, so each is read once per process."""
    return _cached(digest, lambda: _load(digest, blobs))


def _load(digest: str, blobs: BlobStore) -> Standard:
    manifest = read_manifest(digest, blobs)
    reference = _read_reference(manifest, blobs)
    signature = manifest.signature
    return Standard(
        digest=digest,
        shape=shape_of(
            manifest.task,
            reference.loss if reference is not None else _default_loss(manifest.task),
            list(signature.classes) if signature.classes is not None else None,
            signature.positive,
        ),
        contract=manifest.contract,
        reference=reference,
        input_scores=[score_inputs(reference, w.inputs) for w in reference.windows] if reference else [],
        prediction_scores=(
            [score_predictions(reference, w.predictions) for w in reference.windows] if reference else []
        ),
    )


def score_inputs(reference: MonitorReference, summary: Summary) -> dict[str, float]:
    """The drift scores of one window's inputs."""
    return drift_scores(compare(reference.inputs, summary))


def score_predictions(reference: MonitorReference, summary: Summary) -> dict[str, float]:
    """The drift scores of one window's answers."""
    return drift_scores(compare(reference.predictions, summary))


def _read_reference(manifest: BundleManifest, blobs: BlobStore) -> MonitorReference | None:
    if manifest.reference is None:
        return None
    digest = next((file.digest for file in manifest.files if file.path == manifest.reference), None)
    if digest is None:
        raise Corrupt(f"the bundle names {manifest.reference} as its reference and does not hold it")
    found = msgspec.json.decode(blobs.get_object(digest), type=MonitorReference)
    if found.format > REFERENCE_FORMAT:
        raise Corrupt(
            f"the reference of this bundle has format {found.format}; this release reads up to {REFERENCE_FORMAT}"
        )
    return found


def _default_loss(task: Task) -> str:
    from flyball.judge.metrics.table import default_loss

    return default_loss(task)


_standards: dict[str, Standard] = {}


def _cached(digest: str, load: Callable[[], Standard]) -> Standard:
    if digest not in _standards:
        if len(_standards) >= 16:
            _standards.pop(next(iter(_standards)))
        _standards[digest] = load()
    return _standards[digest]
