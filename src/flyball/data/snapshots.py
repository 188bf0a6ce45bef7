"""Snapshots: immutable data of one moment, named by the digest of their content, stored once as Parquet parts.

The manifest, format 1, lies at `snapshots/<64 hexadecimal digits>.json`, create-only; its parts are objects. The name
is the digest of the content (see `content`), so the same rows give the same name whatever wrote the Parquet.
"""

from __future__ import annotations

import io
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import is_digest
from flyball.core.errors import CorruptSnapshot, ObjectExists, SnapshotNotFound
from flyball.core.formats import check_format
from flyball.data.content import canonical_frame, digest_content, type_name

if TYPE_CHECKING:
    import polars as pl

SNAPSHOT_FORMAT = 1
PART_ROWS = 1_000_000
FOLDER = "snapshots"


class SnapshotColumn(msgspec.Struct, frozen=True):
    """Name and type of a column; types as in `content.type_name`."""

    name: str
    type: str


class SnapshotPart(msgspec.Struct, frozen=True):
    """A Parquet file with some of the rows, stored as the object of this digest."""

    digest: str
    size_bytes: int
    rows: int


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is: `digest` names its content; `parts` hold its rows in order; `source` says where from."""

    format: int = SNAPSHOT_FORMAT
    digest: str
    rows: int
    columns: list[SnapshotColumn]
    parts: list[SnapshotPart]
    source: str
    created_at: datetime


def manifest_key(digest: str) -> str:
    """Where the manifest of a snapshot lies. Raises SnapshotNotFound for what is no digest."""
    if not is_digest(digest):
        raise SnapshotNotFound(digest)
    return f"{FOLDER}/{digest.removeprefix('sha256:')}.json"


def take_snapshot(frame: pl.DataFrame, *, source: str, blobs: BlobStore, now: datetime) -> SnapshotManifest:
    """Store a frame as a snapshot, durable when this returns; content that is stored already is not stored again.

    source: where the rows came from, for people (no passwords). Raises SourceUnreadable for nested columns.
    """
    frame = canonical_frame(frame)
    digest = digest_content(frame)
    known = find_manifest(digest, blobs)
    if known is not None and all(blobs.has_object(part.digest) for part in known.parts):
        return known
    parts = []
    for start in range(0, max(frame.height, 1), PART_ROWS):
        portion = frame.slice(start, PART_ROWS)
        data = _parquet(portion)
        parts.append(SnapshotPart(blobs.put_object(data), len(data), portion.height))
    manifest = SnapshotManifest(
        digest=digest,
        rows=frame.height,
        columns=[SnapshotColumn(name, type_name(kind) or "") for name, kind in frame.schema.items()],
        parts=parts,
        source=source,
        created_at=now,
    )
    try:
        blobs.create(manifest_key(digest), encode_manifest(manifest))
    except ObjectExists:
        stored = find_manifest(digest, blobs)
        if stored is not None and all(blobs.has_object(part.digest) for part in stored.parts):
            return stored  # the same content was stored by another run meanwhile
        blobs.put_latest(manifest_key(digest), encode_manifest(manifest))
    return manifest


def find_manifest(digest: str, blobs: BlobStore) -> SnapshotManifest | None:
    """The manifest of a snapshot, None when there is none. Raises CorruptSnapshot, NewerFormat."""
    data = blobs.find(manifest_key(digest))
    return None if data is None else _decode(digest, data)


def read_manifest(digest: str, blobs: BlobStore) -> SnapshotManifest:
    """The manifest of a snapshot. Raises SnapshotNotFound, CorruptSnapshot."""
    manifest = find_manifest(digest, blobs)
    if manifest is None:
        raise SnapshotNotFound(digest)
    return manifest


def read_snapshot(digest: str, blobs: BlobStore) -> pl.DataFrame:
    """The rows of a snapshot, in order, checked against its name. Raises SnapshotNotFound, CorruptSnapshot."""
    import polars as pl

    manifest = read_manifest(digest, blobs)
    frames = [pl.read_parquet(io.BytesIO(blobs.get_object(part.digest))) for part in manifest.parts]
    frame = pl.concat(frames, rechunk=False)
    if digest_content(frame) != digest:
        raise CorruptSnapshot(
            f"the content of snapshot {digest} is not what its name says, and is not used; bring the objects of its "
            f"manifest {manifest_key(digest)} back from a backup, or take the snapshot again from {manifest.source}",
            digest=digest,
        )
    return frame


def encode_manifest(manifest: SnapshotManifest) -> bytes:
    """The manifest's bytes: JSON, indented, in the order of its fields."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def _decode(digest: str, data: bytes) -> SnapshotManifest:
    try:
        check_format(data, SNAPSHOT_FORMAT, f"snapshot {digest}", digest=digest)
        return msgspec.json.decode(data, type=SnapshotManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptSnapshot(
            f"the manifest of snapshot {digest} can't be read ({error}); bring {manifest_key(digest)} back from a "
            "backup, or take the snapshot again",
            digest=digest,
        ) from error


def _parquet(frame: pl.DataFrame) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd", compression_level=3, statistics=True)
    return target.getvalue()
