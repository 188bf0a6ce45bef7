"""What steps gave, kept in the object store for every machine that shares it: laptops and fresh runners train nothing.

An entry, format 1, lies at `cache/steps/<64 hexadecimal digits>.json`, create-only. It names the digest of its content
and of every object that the content rests on; one that is not whole is refused, never repaired by guessing. Digests
show damage, not intent: who may write to the store may write a false entry with the right digests. So what untrusted
changes run with gets FLYBALL_CACHE=read and credentials that can't write.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_bytes, digests_in
from flyball.core.errors import CorruptObject, FlyballError, NotFound, ObjectExists, ObjectNotFound
from flyball.data.snapshots import find_manifest, manifest_key
from flyball.registry.bundle import read_manifest

FORMAT = 1
FOLDER = "cache/steps"


class SharedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a step gave under its key. `objects`: digests of all objects it needs; `files`: digest by key, of others."""

    key: str
    step: str
    outputs: dict[str, Any]
    objects: list[str]
    files: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A shared step as it is stored: its JSON with the digest of these bytes.

    Not of a canonical form: the order of keys counts, since a contract's is the order of the model's columns.
    """

    format: int = FORMAT
    digest: str
    content: msgspec.Raw


def entry_key(key: str) -> str:
    """Where the entry of a step's key lies."""
    return f"{FOLDER}/{key.removeprefix('sha256:')}.json"


def keep_shared(blobs: BlobStore, key: str, step: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """Keep what a step gave for every machine; what stands now: an entry that is there and whole stays."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(outputs))
    objects, files = _needed(blobs, plain)
    content = SharedStep(key=key, step=step, outputs=plain, objects=objects, files=files)
    data = encode_entry(content)
    try:
        blobs.create(entry_key(key), data)
    except ObjectExists:
        try:
            found = find_shared(blobs, key)
        except CorruptObject:
            blobs.put_latest(entry_key(key), data)
        else:
            return plain if found is None else found.outputs
    return plain


def encode_entry(content: SharedStep) -> bytes:
    """The bytes of an entry."""
    raw = msgspec.json.encode(content)
    return msgspec.json.encode(Entry(digest=digest_bytes(raw), content=msgspec.Raw(raw)))


def find_shared(blobs: BlobStore, key: str) -> SharedStep | None:
    """What any machine kept under a key, with all it names read and verified; None when there is nothing.

    Raises CorruptObject for an entry that can't be used. A damaged object that it names is removed, so that the next
    run stores it whole.
    """
    content = read_shared(blobs, key)
    if content is None:
        return None
    for digest in content.objects:
        try:
            blobs.check_object(digest)
        except CorruptObject as error:
            blobs.delete(blobs.object_key(digest))
            raise _refused(key, f"object {digest} has other bytes than its name says") from error
        except NotFound as error:
            raise _refused(key, f"object {digest} is gone") from error
    for name, digest in content.files.items():
        found = blobs.find(name)
        if found is None or digest_bytes(found) != digest:
            raise _refused(key, f"{name} is {'gone' if found is None else 'another than it was'}")
    return content


def read_shared(blobs: BlobStore, key: str) -> SharedStep | None:
    """The entry of a key, its own digest verified, but not what it names. Raises CorruptObject."""
    data = blobs.find(entry_key(key))
    return None if data is None else _decode(key, data)


def _decode(key: str, data: bytes) -> SharedStep:
    try:
        entry = msgspec.json.decode(data, type=Entry)
        if entry.format != FORMAT:
            raise _refused(key, f"it has format {entry.format}, {FORMAT} is known here")
        if digest_bytes(entry.content) != entry.digest:
            raise _refused(key, "its content is not what its digest says")
        content = msgspec.json.decode(entry.content, type=SharedStep)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refused(key, "it can't be read") from error
    if content.key != key:
        raise _refused(key, "it was made for other inputs")
    return content


def _needed(blobs: BlobStore, outputs: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Every object that outputs name, those of a bundle and of a snapshot included, and a snapshot's manifest."""
    objects = {digest for digest in digests_in(outputs) if blobs.has_object(digest)}
    files: dict[str, str] = {}
    if isinstance(bundle := outputs.get("bundle"), str):
        objects.update(file.digest for file in read_manifest(bundle, blobs).files)
    if isinstance(snapshot := outputs.get("snapshot"), str):
        manifest = find_manifest(snapshot, blobs)
        if manifest is None:
            raise ObjectNotFound(f"there is no manifest of snapshot {snapshot}", digest=snapshot)
        objects.update(part.digest for part in manifest.parts)
        files[manifest_key(snapshot)] = digest_bytes(blobs.get(manifest_key(snapshot)))
    return sorted(objects), files


def _refused(key: str, problem: str) -> FlyballError:
    return CorruptObject(
        f"the shared result {entry_key(key)} is not used, the step is made again: {problem}",
        key=entry_key(key),
    )
