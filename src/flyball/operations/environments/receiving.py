"""Taking a version that another home sends to this control plane: its objects, its record, its settings.

Nothing that came is unpacked, loaded or run here: objects are bytes that have the digest they are named by, and of the
bundle only its manifest is read. Who sends a version is believed about what was measured and who made it, as whoever
writes to the stores in place is; not about what the bytes themselves say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.digests import digest_file, is_digest
from flyball.core.errors import BadInput, Conflict, Refused
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.delivery.start import Started
from flyball.operations.deploying import settings_of
from flyball.operations.environments.deploying import start_there
from flyball.operations.environments.transfer import Carried, Record, decode_record, enter, list_needed
from flyball.operations.opening import Backends
from flyball.pipelines.positions import dotted
from flyball.pipelines.project_rules import broken_rules
from flyball.registry import bundle
from flyball.registry.manifest import LARGEST_MANIFEST_BYTES, BundleManifest
from flyball.registry.routes import current
from flyball.registry.versions import resolve

SETTING = "FLYBALL_CONTROL_TAKES_VERSIONS"
LARGEST_RECORD_BYTES = 8 * 1024 * 1024
LONGEST_NAME = 255
_LARGEST_COUNT = 2**53


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version comes from, as `transfer.read_record` tells it."""

    environment: str | None
    number: int
    digest: str
    registered_at: str
    author: str
    author_id: str | None
    folder: str | None
    compared_with: str | None


def check_taking() -> None:
    """Raise Refused unless whoever runs this control plane has said that it takes versions."""
    if os.environ.get(SETTING) != "1":
        raise Refused(
            "this control plane takes no versions and no settings from elsewhere: they bring code that its model "
            f"servers and retrainings run, and this release has no login. Start it with {SETTING}=1 to say that this "
            "is what you want, or deploy in place",
            setting=SETTING,
        )


def list_missing(blobs: BlobStore, digests: Sequence[str]) -> list[str]:
    """Those of the digests of which no object is stored. Raises BadInput for what is no digest."""
    return [digest for digest in digests if not blobs.has_object(read_digest(digest))]


def read_digest(text: str) -> str:
    """A digest as it was sent. Raises BadInput."""
    if not is_digest(text):
        raise BadInput(f"{text[:80]!r} is no digest; one is sha256: and 64 hexadecimal digits")
    return text


def take_object(blobs: BlobStore, digest: str, path: Path) -> None:
    """Store a file that came under a digest. Raises BadInput, and stores nothing, when its bytes have another one."""
    found = digest_file(path)
    if found != digest:
        raise BadInput(
            f"the bytes that came have the digest {found}, not {digest}, and are not stored; send the object again",
            digest=digest,
        )
    blobs.put_file(path)


def take_version(
    backends: Backends, model: str, record_digest: str, verdicts: list[dict[str, Any]], actor: Actor
) -> Carried:
    """Register the version whose record was sent as an object; the one that stands there, if it was taken before.

    verdicts: of the gates of this environment, which the sender asked. Raises BadInput for a record that can't be
    used, Conflict while objects are missing.
    """
    blobs = backends.blobs
    record = read_record_sent(blobs, read_digest(record_digest))
    for fault in _faults(record, model):
        raise BadInput(f"the record {record_digest} can't be used: {fault}", digest=record_digest)
    read_settings_sent(record.version.project, model)
    digest = record.version.digest
    size = blobs.find_size(blobs.object_key(digest))
    if size is None:
        raise _lacking([digest])
    if size > LARGEST_MANIFEST_BYTES:
        raise BadInput(
            f"the object {digest} is no bundle: its manifest would have {size} bytes", digest=digest
        )
    manifest = bundle.read_manifest(digest, blobs)
    if missing := list_missing(blobs, list_needed(blobs, record)):
        raise _lacking(missing)
    for fault in _contradictions(record, manifest):
        raise BadInput(f"the record {record_digest} can't be used: {fault}", digest=record_digest)
    bundle.check_objects(digest, blobs)
    return enter(backends, _own(record, manifest), actor=actor, verdicts=verdicts)


def deploy_under(
    backends: Backends, ref: ModelRef, settings: dict[str, Any], *, why: str, actor: Actor
) -> Started:
    """Start the rollout of a version under settings that were sent; nothing begins twice.

    As many approvals as the strictest asks for: the settings, those of the version, those in force, and those of the
    control plane's own project file. Raises BadInput for settings that no project file could have.
    """
    project = read_settings_sent(settings, ref.model)
    with backends.database.read() as conn:
        version = resolve(conn, ref)
        deployment = current(conn, ref.model)
    known = [settings_of(ref.model, None, version), msgspec.convert(version.project, Project)]
    if deployment is not None:
        known.append(msgspec.convert(deployment.project, Project))
    approvals = max(project.rollout.approvals, *(one.rollout.approvals for one in known))
    rollout = msgspec.structs.replace(project.rollout, approvals=approvals)
    project = msgspec.structs.replace(project, rollout=rollout)
    return start_there(backends, version, why=why, project=project, actor=actor)


def read_settings_sent(settings: dict[str, Any], model: str) -> Project:
    """Settings of a project, held to the rules of its file. Raises BadInput."""
    try:
        project = msgspec.convert(settings, Project)
    except msgspec.ValidationError as error:
        raise BadInput(f"the settings can't be used: {error}") from error
    for fault in broken_rules(project):
        raise BadInput(f"the settings can't be used: {dotted(fault.path)} {fault.problem}")
    if project.model.name != model:
        raise BadInput(f"the settings are about {project.model.name}, not {model}", model=model)
    return project


def read_record_sent(blobs: BlobStore, digest: str) -> Record:
    """The record that was sent as this object, without paths of its sender. Raises BadInput, NewerFormat, Conflict."""
    size = blobs.find_size(blobs.object_key(digest))
    if size is None:
        raise _lacking([digest])
    if size > LARGEST_RECORD_BYTES:
        raise BadInput(f"the record {digest} is longer than {LARGEST_RECORD_BYTES >> 20} MiB", digest=digest)
    data = blobs.get_object(digest)
    record = decode_record(data, digest)
    try:
        origin = msgspec.convert(record.origin, _Origin)
    except msgspec.ValidationError as error:
        raise BadInput(f"the record {digest} tells no origin: {error}", digest=digest) from error
    if b"\\u0000" in data:
        raise BadInput(f"the record {digest} holds a zero character, which not every database keeps")
    # The folder that it was made in is a path of another machine, and would be read on this one.
    return msgspec.structs.replace(record, origin=msgspec.to_builtins(origin) | {"folder": None})


def _lacking(missing: list[str]) -> Conflict:
    return Conflict(
        f"{len(missing)} of the version's objects are not here, such as {missing[0]}; send them first",
        missing=missing[:100],
    )


def _faults(record: Record, model: str) -> Iterator[str]:
    """What is wrong with a record by itself."""
    version, origin, snapshot = record.version, record.origin, record.snapshot
    if not version.model == record.model.name == model:
        yield f"it is about {version.model[:80]!r}, not {model}"
    if version.state != "registered":
        yield "the version failed its gates"
    if origin["digest"] != version.digest:
        yield "it names two bundles"
    for name in ("digest", "snapshot", "source_tree", "environment"):
        value = getattr(version, name)
        if value is not None and not is_digest(value):
            yield f"its {name} is no digest"
    rows = version.lineage.get("trained_rows")
    if rows is not None and not (isinstance(rows, str) and is_digest(rows)):
        yield "its trained_rows is no digest"
    if max(len(version.author), len(origin["author_id"] or "")) > LONGEST_NAME:
        yield f"its author has more than {LONGEST_NAME} characters"
    if (None if snapshot is None else snapshot.digest) != version.snapshot:
        yield "it tells of other rows than the version names"
    if snapshot is not None:
        counts = [snapshot.rows, *(n for part in snapshot.parts for n in (part.rows, part.size_bytes))]
        if not all(0 <= count < _LARGEST_COUNT for count in (*counts, sum(counts))):
            yield "its snapshot counts rows that can't be"
        if not all(is_digest(part.digest) for part in snapshot.parts):
            yield "its snapshot has a part that is no digest"


def _contradictions(record: Record, manifest: BundleManifest) -> Iterator[str]:
    """Where a record says other things than the bundle."""
    version = record.version
    if (manifest.model, manifest.task) != (version.model, version.task) or record.model.task != version.task:
        yield f"its bundle is a {manifest.task} model named {manifest.model}"


def _own(record: Record, manifest: BundleManifest) -> Record:
    """The record with what the bundle itself tells: whether it brings code, which needs a process of its own."""
    version = msgspec.structs.replace(record.version, isolated=manifest.isolated)
    return msgspec.structs.replace(record, version=version)
