"""The manifest of a bundle, format 1: what a model is made of, how it is asked, and the digest of every file.

Additive within format 1: a reader passes over fields it does not know. It holds no times, so that the same model
gives the same bytes, and with them the same digest.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from flyball.core.contract import Contract, FeatureType
from flyball.core.digests import is_digest
from flyball.core.errors import BadBundle
from flyball.core.formats import check_format
from flyball.core.project import Task

BUNDLE_FORMAT = 1
MANIFEST_NAME = "bundle.json"
GOLDEN_NAME = "golden.json"
REFERENCE_NAME = "reference.json"
SOURCE_FOLDER = "source"
LARGEST_MANIFEST_BYTES = 8 * 1024 * 1024
LARGEST_BUNDLE_BYTES = 16 * 1024**3
MOST_FILES = 5_000

ModelKind = Literal["lightgbm", "xgboost", "skops", "custom"]
Frames = Literal["matrix", "polars", "pandas"]

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)
_DEEPEST = 12


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A feature as the model takes it. `categories` lists the values of a text feature; its code is the index."""

    name: str
    type: FeatureType
    nullable: bool = True
    categories: tuple[str, ...] | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a request carries, in order, and what the answer means. `classes` in the order of the scores."""

    features: tuple[FeatureSpec, ...]
    target: str
    classes: tuple[bool | int | str, ...] | None = None
    positive: bool | int | str | None = None


class PredictorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the model is loaded and asked.

    path: its file, or its folder for a custom class. features: what it takes, in order; the signature's own unless
    steps make others of them. frames: whether it takes a matrix of numbers or a data frame. entry: `module:Class` of
    a custom class. options: numbers and names that its kind needs to be asked as it was in training.
    """

    kind: ModelKind
    path: str
    features: tuple[FeatureSpec, ...]
    frames: Frames = "matrix"
    entry: str | None = None
    options: dict[str, Any] = {}


class StepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A step that runs on each request before the model: `module:function` in the bundle's source."""

    name: str
    entry: str
    frames: Literal["polars", "pandas", "numpy"] = "polars"
    params: dict[str, Any] = {}
    seed: int = 0


class DerivedForm(msgspec.Struct, frozen=True, kw_only=True):
    """A second, faster form of the model that agreed with it: on `rows` rows at most `max_abs_difference` apart.

    `tolerance` is what was allowed, in the unit of the answers; every label was equal.
    """

    kind: Literal["onnx"]
    path: str
    max_abs_difference: float
    tolerance: float
    rows: int


class RefusedForm(msgspec.Struct, frozen=True, kw_only=True):
    """A form that was tried and not kept, and why."""

    kind: Literal["onnx"]
    because: str


class BundleFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path below the bundle's folder, and what it holds."""

    path: str
    digest: str
    size_bytes: int


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a bundle is. `libraries` names what it was made with, for people who ask."""

    format: int = BUNDLE_FORMAT
    model: str
    task: Task
    signature: Signature
    predictor: PredictorSpec
    contract: Contract
    files: tuple[BundleFile, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    derived: tuple[DerivedForm, ...] = ()
    refused_forms: tuple[RefusedForm, ...] = ()
    golden: str | None = None
    reference: str | None = None
    libraries: dict[str, str] = {}

    @property
    def needs_process(self) -> bool:
        """Whether it brings code of its own, which runs in a model process only."""
        return self.predictor.kind == "custom" or bool(self.steps)

    @property
    def needs_frame(self) -> bool:
        """Whether it is asked with data frames, which the model server itself does not load."""
        return self.predictor.frames != "matrix" or self.needs_process

    @property
    def isolated(self) -> bool:
        """Whether it answers in a process of its own."""
        return self.needs_process or self.needs_frame

    @property
    def size_bytes(self) -> int:
        """The size of all its files."""
        return sum(file.size_bytes for file in self.files)


def read_manifest_bytes(data: bytes) -> BundleManifest:
    """The manifest in these bytes, with every path checked. Raises BadBundle, NewerFormat."""
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise BadBundle(f"the manifest has {len(data)} bytes; at most {LARGEST_MANIFEST_BYTES} are read")
    try:
        check_format(data, BUNDLE_FORMAT, "this bundle")
        manifest = msgspec.json.decode(data, type=BundleManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundle(f"this is no manifest of a bundle: {error}") from error
    _check(manifest)
    return manifest


def _check(manifest: BundleManifest) -> None:
    if len(manifest.files) > MOST_FILES:
        raise BadBundle(f"the bundle lists {len(manifest.files)} files; at most {MOST_FILES} are taken")
    if manifest.size_bytes > LARGEST_BUNDLE_BYTES:
        raise BadBundle(
            f"the bundle has {manifest.size_bytes} bytes; at most {LARGEST_BUNDLE_BYTES} are taken"
        )
    paths = {file.path for file in manifest.files}
    if len(paths) != len(manifest.files):
        raise BadBundle("the bundle lists a file twice")
    for file in manifest.files:
        _check_path(file.path)
        if not is_digest(file.digest) or file.size_bytes < 0:
            raise BadBundle(f"{file.path} has no proper digest or size")
        if any(parent in paths for parent in _parents(file.path)):
            raise BadBundle(f"{file.path} lies below a file")
    named = [manifest.golden, manifest.reference, *(form.path for form in manifest.derived)]
    if manifest.predictor.kind != "custom":
        named.append(manifest.predictor.path)
    for path in named:
        if path is not None and path not in paths:
            raise BadBundle(f"the manifest names {path!r}, which is not among the bundle's files")
    if manifest.predictor.kind == "custom" and manifest.predictor.entry is None:
        raise BadBundle("a custom model without its class")


def _check_path(path: str) -> None:
    segments = path.split("/")
    if len(segments) > _DEEPEST or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadBundle(
            f"{path[:200]!r} can't be a file of a bundle: paths are made of A-Z a-z 0-9 . _ - and /, no part of them "
            f"begins with a dot, and they are at most {_DEEPEST} deep"
        )
    if path == MANIFEST_NAME:
        raise BadBundle(f"{MANIFEST_NAME} can't list itself")


def _parents(path: str) -> list[str]:
    segments = path.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments))]
