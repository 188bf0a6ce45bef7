"""Bundles: a model as verified files under one digest, packed into the object store and fetched from it.

Nothing here loads a model: the control plane packs and fetches bundles, `formats` loads them in the processes that
answer. No SQL here: the model server imports this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flyball.core.digests import canonical_json, digest_bytes, digest_file, is_digest
from flyball.core.errors import BadBundle, CorruptBundle
from flyball.registry.manifest import (
    BUNDLE_FORMAT,
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    BundleFile,
    BundleManifest,
    DerivedForm,
    FeatureSpec,
    PredictorSpec,
    RefusedForm,
    Signature,
    StepSpec,
    read_manifest_bytes,
)

if TYPE_CHECKING:
    from flyball.backends.blobs.store import BlobStore

__all__ = [
    "BUNDLE_FORMAT",
    "BundleFile",
    "BundleManifest",
    "DerivedForm",
    "FeatureSpec",
    "PredictorSpec",
    "RefusedForm",
    "Signature",
    "StepSpec",
    "copy_files",
    "fetch",
    "list_files",
    "pack",
    "read_file",
    "read_folder_manifest",
    "read_manifest",
    "read_manifest_bytes",
    "seal",
]


def seal(folder: Path, manifest: BundleManifest) -> BundleManifest:
    """The manifest with every file of the folder, written to its `bundle.json`. Raises BadBundle."""
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    sealed = msgspec.structs.replace(manifest, files=list_files(folder))
    data = canonical_json(sealed)
    read_manifest_bytes(data)
    (folder / MANIFEST_NAME).write_bytes(data)
    return sealed


def list_files(folder: Path) -> tuple[BundleFile, ...]:
    """Every file below a folder with its digest and size, sorted by path. Raises BadBundle for links."""
    return tuple(
        BundleFile(path=path, digest=digest_file(folder / path), size_bytes=(folder / path).stat().st_size)
        for path in _walk(folder)
    )


def pack(folder: Path, blobs: BlobStore) -> str:
    """Store a sealed folder; the bundle's digest. The manifest is stored last, when all it names is durable.

    Packing the same content again changes nothing. Raises BadBundle, CorruptBundle for a file that was changed since.
    """
    data = _read_below(folder, MANIFEST_NAME)
    manifest = read_manifest_bytes(data)
    listed = {file.path for file in manifest.files}
    if stray := [path for path in _walk(folder) if path not in listed and path != MANIFEST_NAME]:
        raise BadBundle(f"{stray[0]} is not in the manifest: it came after the folder was sealed")
    for file in manifest.files:
        if blobs.put_file(folder / file.path) != file.digest:
            raise _corrupt(file.path, "it was changed after the folder was sealed; package the model again")
    return blobs.put_object(data)


def read_manifest(digest: str, blobs: BlobStore) -> BundleManifest:
    """A stored bundle's manifest. Raises ObjectNotFound, CorruptObject, BadBundle, NewerFormat."""
    return read_manifest_bytes(blobs.get_object(digest))


def check_objects(digest: str, blobs: BlobStore) -> None:
    """Read all that a bundle is made of. Raises CorruptObject or ObjectNotFound for what is damaged or gone."""
    for file in read_manifest(digest, blobs).files:
        blobs.check_object(file.digest)


def read_folder_manifest(folder: Path, digest: str | None = None) -> BundleManifest:
    """The manifest of a fetched bundle; verified, when a digest is given. Raises CorruptBundle, BadBundle."""
    try:
        data = _read_below(folder, MANIFEST_NAME)
    except OSError as error:
        raise _corrupt(MANIFEST_NAME, f"it can't be read: {error.strerror}") from error
    if digest is not None and digest_bytes(data) != digest:
        raise _corrupt(MANIFEST_NAME, "fetch the bundle again")
    return read_manifest_bytes(data)


def read_file(folder: Path, manifest: BundleManifest, path: str) -> bytes:
    """A file's bytes, verified: what is loaded is what was digested, and no link is followed. Raises CorruptBundle."""
    listed = next((file for file in manifest.files if file.path == path), None)
    if listed is None:
        raise BadBundle(f"the bundle of {manifest.model} holds no {path}")
    try:
        data = _read_below(folder, path, limit=listed.size_bytes)
    except OSError as error:
        raise _corrupt(path, f"it can't be read: {error.strerror}; fetch the bundle again") from error
    if digest_bytes(data) != listed.digest:
        raise _corrupt(path, "fetch the bundle again, which repairs it")
    return data


def copy_files(folder: Path, manifest: BundleManifest, below: str, target: Path) -> None:
    """Verified copies of all files below a folder of the bundle, in a folder that nobody else writes to."""
    for file in manifest.files:
        if file.path.startswith(below + "/"):
            copy = target / file.path[len(below) + 1 :]
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(read_file(folder, manifest, file.path))


def fetch(digest: str, blobs: BlobStore, cache_folder: Path) -> Path:
    """The folder that holds a bundle, every file verified; fetched, or repaired, where the cache has it not.

    A complete cache needs no store. Several processes may fetch the same bundle at once. Raises ObjectNotFound,
    CorruptObject, BlobsUnavailable, BadBundle.
    """
    if not is_digest(digest):
        raise BadBundle(f"{digest[:80]!r} is no digest of a bundle")
    folder = cache_folder / digest.removeprefix("sha256:")
    manifest = _cached_manifest(folder, digest)
    if manifest is None:
        data = blobs.get_object(digest)
        manifest = read_manifest_bytes(data)
        _install(folder, data, manifest, blobs)
        return folder
    for file in manifest.files:
        if not _is_whole(folder, file):
            _repair(folder, file, blobs)
    return folder


def _cached_manifest(folder: Path, digest: str) -> BundleManifest | None:
    try:
        return read_folder_manifest(folder, digest)
    except (CorruptBundle, BadBundle):
        return None


def _install(folder: Path, data: bytes, manifest: BundleManifest, blobs: BlobStore) -> None:
    """Fetch into a private folder, and give it its name when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        for file in manifest.files:
            target = making / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch_file(file, target, blobs)
        with (making / MANIFEST_NAME).open("wb") as manifest_file:
            manifest_file.write(data)
            manifest_file.flush()
            os.fsync(manifest_file.fileno())
        try:
            making.rename(folder)
        except OSError:
            # Somebody else was first, or a damaged folder is in the way. Both are put right file by file.
            for file in manifest.files:
                if not _is_whole(folder, file):
                    _move_into(folder, file.path, making / file.path)
            _move_into(folder, MANIFEST_NAME, making / MANIFEST_NAME)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _repair(folder: Path, file: BundleFile, blobs: BlobStore) -> None:
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as making:
        fetched = Path(making) / "file"
        _fetch_file(file, fetched, blobs)
        _move_into(folder, file.path, fetched)


def _fetch_file(file: BundleFile, target: Path, blobs: BlobStore) -> None:
    blobs.fetch_object(file.digest, target)
    if target.stat().st_size != file.size_bytes:
        raise BadBundle(f"{file.path} has {target.stat().st_size} bytes, its manifest says {file.size_bytes}")


def _move_into(folder: Path, path: str, source: Path) -> None:
    """Put a file in its place, whatever is there: real folders on the way, readers see the old file or the new."""
    parent = folder
    for segment in ("", *path.split("/")[:-1]):
        parent = parent / segment if segment else parent
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            parent.unlink()
        parent.mkdir(mode=0o700, exist_ok=True)
    target = folder / path
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(source, target)


def _is_whole(folder: Path, file: BundleFile) -> bool:
    try:
        with os.fdopen(_open_below(folder, file.path), "rb") as opened:
            if os.fstat(opened.fileno()).st_size != file.size_bytes:
                return False
            return "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest() == file.digest
    except OSError:
        return False


def _read_below(folder: Path, path: str, limit: int = LARGEST_MANIFEST_BYTES) -> bytes:
    with os.fdopen(_open_below(folder, path), "rb") as file:
        return file.read(limit + 1)


def _open_below(folder: Path, path: str) -> int:
    """A descriptor of a file below a folder; no segment of its path may be a link. Raises OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    *parents, name = path.split("/")
    try:
        for segment in parents:
            below = os.open(segment, flags | os.O_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        # Not blocking: a pipe in a file's place must not hang whoever verifies it.
        return os.open(name, flags | os.O_NONBLOCK, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path) -> list[str]:
    """The paths of all files below a folder, sorted. Raises BadBundle for links and other things that are no files."""
    paths = []
    for root, names, files in os.walk(folder):
        for name in (*names, *files):
            path = Path(root, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BadBundle(
                    f"{path.relative_to(folder)} is a link or no plain file; bundles hold files only"
                )
        paths += [Path(root, name).relative_to(folder).as_posix() for name in files]
    return sorted(paths)


def _corrupt(path: str, advice: str) -> CorruptBundle:
    return CorruptBundle(
        f"{path} has other bytes than the bundle's manifest says, and is not used: {advice}", path=path
    )
