"""Bundles as a server uses them: fetched into the cache, verified, opened here or in a model process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.errors import FlyballError
from flyball.registry.bundle import fetch, read_folder_manifest
from flyball.serving.isolation import ProcessAnswers

if TYPE_CHECKING:
    from flyball.registry.formats.answers import Predictor

TIMED_ROWS = 64


class BundleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What routing needs to know of a bundle.

    `features` of a request in the signature's order; `classes` in the order of the scores, None for regression.
    """

    digest: str
    features: tuple[str, ...]
    classes: tuple[Any, ...] | None
    needs_process: bool


class LocalModel:
    """A model that answers in this process. `row_us`: measured microseconds per row."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.row_us = self._measure()

    def predict(self, rows: list[dict[str, Any]]) -> ProcessAnswers:
        """Answers to rows of the request; fields that are no features are left aside."""
        answers = self._predictor.predict(self._predictor.encode(rows))
        return ProcessAnswers(answers.predictions, answers.scores)

    def _measure(self) -> float:
        rows: list[dict[str, Any]] = [{}] * TIMED_ROWS
        self.predict(rows)  # the first call pays for what later ones find ready
        started = time.perf_counter_ns()
        self.predict(rows)
        return (time.perf_counter_ns() - started) / 1000 / TIMED_ROWS


def fetch_bundle(digest: str, blobs: Callable[[], BlobStore], cache: Path) -> Path:
    """The folder of a verified bundle, from the cache when it is there, else from the object store."""
    folder = cache / "bundles"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        store = blobs()
    except (FlyballError, OSError):
        kept = folder / digest.removeprefix("sha256:")
        if not kept.is_dir():
            raise
        read_folder_manifest(kept, digest)
        return kept
    return fetch(digest, store, folder)


def read_facts(folder: Path, digest: str) -> BundleFacts:
    """The facts of a fetched bundle. Raises Corrupt when its manifest is not the one of this digest."""
    manifest = read_folder_manifest(folder, digest)
    classes = manifest.signature.classes
    return BundleFacts(
        digest=digest,
        features=tuple(feature.name for feature in manifest.signature.features),
        classes=tuple(classes) if classes is not None else None,
        needs_process=manifest.isolated,
    )


def open_local(folder: Path, digest: str) -> LocalModel:
    """The model, loaded into this process and checked against its golden batch. Raises FlyballError."""
    return LocalModel(_open(folder, digest, in_model_process=False))


def open_predictor(folder: Path, digest: str) -> Predictor:
    """The predictor, loaded into a model process and checked against its golden batch. Raises FlyballError."""
    return _open(folder, digest, in_model_process=True)


def _open(folder: Path, digest: str, *, in_model_process: bool) -> Predictor:
    from flyball.registry.formats.golden import check_golden
    from flyball.registry.formats.loading import load_predictor

    manifest = read_folder_manifest(folder, digest)
    predictor = load_predictor(folder, manifest, in_model_process=in_model_process)
    check_golden(predictor, folder, manifest)
    return predictor
