"""Carrying a version over: verified copies of all that it needs, then one transaction that registers the same digest.

Objects are named by their content, so a copy that was cut off harms nobody and is finished by the next one; what names
others is written last. Only then does the target's database hear of the version, of its evidence and of who made it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.backends.blobs.store import BlobStore
from flyball.backends.scratch import ScratchFolder
from flyball.core.clock import isoformat
from flyball.core.digests import digests_in
from flyball.core.errors import BadInput, CorruptObject, ObjectExists
from flyball.core.formats import check_format
from flyball.core.values import Actor
from flyball.data.catalogue import add_snapshot
from flyball.data.snapshots import SnapshotManifest, encode_manifest, manifest_key, read_manifest
from flyball.operations.approving import author_of
from flyball.operations.opening import Backends
from flyball.pipelines.runs import Run, find_run
from flyball.registry import bundle
from flyball.registry.evidence import Evidence, add_evidence, list_evidence
from flyball.registry.known_champion import keep_lineage
from flyball.registry.models import Model, get_model
from flyball.registry.versions import ModelVersion, NewVersion, find_by_digest, register_version

# What was found out about the bytes. How a rollout went is about the traffic of one home, and stays there.
CARRIED_KINDS = ("evaluation", "gate", "tests")
RECORD_FORMAT = 1
_OF_THE_MAKING = ("registered_at", "author", "author_id", "folder", "compared_with")


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the home that it was carried to, how many objects were copied, and whether it was known there."""

    version: ModelVersion
    copied: int
    was_known: bool


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a home knows of a version, as another one is told it (format 1, docs/decisions/0001).

    origin: who made it, where, in which run. snapshot: of the rows that it was trained on.
    """

    format: int = RECORD_FORMAT
    version: ModelVersion
    model: Model
    evidence: list[Evidence]
    origin: dict[str, Any]
    snapshot: SnapshotManifest | None


def decode_record(data: bytes, digest: str) -> Record:
    """The record that has this digest. Raises BadInput, and NewerFormat for one of a later release."""
    try:
        check_format(data, RECORD_FORMAT, f"the record {digest}", digest=digest)
        return msgspec.json.decode(data, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the object {digest} is no record of a version: {error}", digest=digest) from error


def carry(
    source: Backends,
    target: Backends,
    version: ModelVersion,
    *,
    source_name: str | None,
    actor: Actor,
    verdicts: list[dict[str, Any]] | None = None,
) -> Carried:
    """The same version in the target's home: the one that stands there, else a new one with the same digest.

    source_name: of the environment it comes from, None for a home. verdicts: of the target's own gates, kept as
    evidence. Safe to repeat, and for two at once. Raises CorruptObject or ObjectNotFound, and registers nothing, when
    something that the version needs is damaged or gone in the source.
    """
    record = read_record(source, version, source_name)
    copied = 0
    if source.blobs.url.rstrip("/") != target.blobs.url.rstrip("/"):
        with ScratchFolder("carry") as folder:
            names = list_objects(source.blobs, record)
            copied = sum(_copy(digest, source.blobs, target.blobs, folder / "object") for digest in names)
    return enter(target, record, actor=actor, verdicts=verdicts or [], copied=copied)


def enter(
    target: Backends, record: Record, *, actor: Actor, verdicts: list[dict[str, Any]], copied: int = 0
) -> Carried:
    """The version of a record in a home that has all objects it names; one transaction, which may be repeated."""
    version = record.version
    if record.snapshot is not None:
        with suppress(ObjectExists):
            target.blobs.create(manifest_key(record.snapshot.digest), encode_manifest(record.snapshot))
    keep_lineage(target.blobs, version.digest, version.lineage)
    now = target.clock.now()
    with target.database.write() as conn:
        known = find_standing(conn, version)
        standing = known or _register(conn, record, actor, now)
        for verdict in verdicts:
            _add_once(conn, standing, "gate", verdict, actor, now)
    if standing.digest != version.digest:
        raise CorruptObject(
            f"{standing.model}@{standing.number} there is {standing.digest}, and {version.digest} was tested; nothing "
            "is deployed",
            digest=version.digest,
        )
    return Carried(version=standing, copied=copied, was_known=known is not None)


def find_standing(conn: Connection, version: ModelVersion) -> ModelVersion | None:
    """The version of a home that has these bytes under these settings, the newest of several; None if there is none."""
    same = [found for found in find_by_digest(conn, version.digest) if _meaning(found) == _meaning(version)]
    return same[-1] if same else None


def _meaning(version: ModelVersion) -> tuple[Any, ...]:
    """What makes a version one of its own. Where it may be deployed to is not part of that."""
    settings = {name: value for name, value in version.project.items() if name != "environments"}
    return version.model, version.state, settings


def read_record(source: Backends, version: ModelVersion, source_name: str | None) -> Record:
    """What is known of a version where it comes from. Raises CorruptObject for bytes that its run did not test."""
    with source.database.read() as conn:
        run = None if version.run_id is None else find_run(conn, version.run_id)
        tested = None if run is None or run.result is None else run.result.get("digest")
        if tested not in (None, version.digest):
            raise CorruptObject(
                f"run {version.run_id} tested {tested}, and {version.model}@{version.number} is {version.digest}: "
                "what was not tested is not deployed",
                digest=version.digest,
            )
        origin = {
            "environment": source_name,
            "number": version.number,
            "digest": version.digest,
            "registered_at": isoformat(version.created_at),
            "author": version.author,
            "author_id": author_of(conn, version),
            "folder": None if run is None else run.request.get("folder"),
            "compared_with": compared_with(run),
        }
        known: dict[str, Any] = version.lineage.get("origin") or {}
        return Record(
            version=version,
            model=get_model(conn, version.model),
            evidence=list_evidence(conn, version.model, version.number),
            # Who made it, and where: of the first home, however many environments lie between.
            origin=origin | {name: known[name] for name in _OF_THE_MAKING if name in known},
            snapshot=None if version.snapshot is None else read_manifest(version.snapshot, source.blobs),
        )


def compared_with(run: Run | None) -> str | None:
    """Digest of the champion that gates against a champion were judged with."""
    champion: dict[str, Any] = ((run.result or {}).get("champion") or {}) if run is not None else {}
    return champion.get("digest")


def _register(conn: Connection, record: Record, actor: Actor, now: datetime) -> ModelVersion:
    version = record.version
    registered = register_version(conn, _new_version(record), actor, now)
    if record.snapshot is not None:
        add_snapshot(conn, record.snapshot, actor=actor, now=now, model=version.model)
    because = (
        f"carried over from {record.origin['environment'] or 'the home that made it'}, where it is version "
        f"{version.number}; {version.author} made it on {record.origin['registered_at'][:10]}"
    )
    told = [("origin", {**record.origin, "because": because})]
    told += [(found.kind, found.facts) for found in record.evidence if found.kind in CARRIED_KINDS]
    for kind, facts in told:
        add_evidence(conn, version.model, registered.number, kind, facts, actor=actor, now=now)
    return registered


def _new_version(record: Record) -> NewVersion:
    version = record.version
    return NewVersion(
        model=version.model,
        task=version.task,
        digest=version.digest,
        state=version.state,
        author=version.author,
        # The run is in the home that made it; the lineage names it.
        run_id=None,
        isolated=version.isolated,
        snapshot=version.snapshot,
        source_tree=version.source_tree,
        environment=version.environment,
        project=version.project,
        contract=version.contract,
        params=version.params,
        metrics=version.metrics,
        lineage={**version.lineage, "origin": record.origin},
        why=version.why,
        owner=record.model.owner,
        description=record.model.description,
    )


def _add_once(
    conn: Connection, version: ModelVersion, kind: str, facts: dict[str, Any], actor: Actor, now: datetime
) -> None:
    known = list_evidence(conn, version.model, version.number, kind)
    if not any(found.facts == facts for found in known):
        add_evidence(conn, version.model, version.number, kind, facts, actor=actor, now=now)


def list_needed(blobs: BlobStore, record: Record) -> list[str]:
    """Digests of the objects without which a version is not whole, its bundle's manifest last."""
    version = record.version
    parts = [] if record.snapshot is None else [part.digest for part in record.snapshot.parts]
    files = [file.digest for file in bundle.read_manifest(version.digest, blobs).files]
    named = [version.lineage.get("trained_rows"), version.source_tree, version.environment]
    needed = [*parts, *files, *(digest for digest in named if digest is not None), version.digest]
    return list(dict.fromkeys(needed))


def list_objects(source: BlobStore, record: Record) -> list[str]:
    """As `list_needed`, with what evidence and lineage name and the source still has."""
    needed = list_needed(source, record)
    mentioned = digests_in([record.version.lineage, *(found.facts for found in record.evidence)])
    others = {digest for digest in mentioned if digest not in needed and source.has_object(digest)}
    return [*needed[:-1], *sorted(others), needed[-1]]


def _copy(digest: str, source: BlobStore, target: BlobStore, path: Path) -> int:
    """Copy one object, its bytes held against its name on the way; 0 where the target has it."""
    size = source.size(source.object_key(digest))
    if target.find_size(target.object_key(digest)) == size:
        return 0
    source.fetch_object(digest, path)
    if target.put_file(path) != digest:
        raise CorruptObject(f"object {digest} was changed on its way; deploy again", digest=digest)
    return 1
