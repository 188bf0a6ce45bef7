"""Whether a bundle answers its golden batch, for tests: with the reason why not in place of an error."""

from __future__ import annotations

from pathlib import Path

from flyball.core.errors import FlyballError
from flyball.core.values import Verdict
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.golden import check_golden
from flyball.registry.formats.loading import load_predictor
from flyball.registry.manifest import BundleManifest


def verify_golden(
    folder: Path, manifest: BundleManifest | None = None, *, in_model_process: bool = False
) -> Verdict:
    """Whether the bundle in a folder loads and answers its golden batch as it did when it was packaged, and why not."""
    try:
        manifest = manifest or read_folder_manifest(folder)
        predictor = load_predictor(folder, manifest, in_model_process=in_model_process)
        check_golden(predictor, folder, manifest)
    except FlyballError as error:
        return Verdict("fail", error.message)
    return Verdict("pass", f"answers its golden batch as when it was packaged ({predictor.form} form)")
