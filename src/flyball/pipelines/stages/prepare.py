"""Data of a run: read once, kept as a snapshot, checked, divided; the parts lie as files for the next steps."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.digests import digest_file
from flyball.data.catalogue import add_snapshot
from flyball.data.snapshots import SnapshotManifest
from flyball.pipelines.calls import ChildLimits, call_child
from flyball.pipelines.children.prepare import BESIDE_NAME
from flyball.pipelines.hidden import hidden_columns
from flyball.pipelines.stages.job import Job, Made, look_up, step_key

# A source in the cloud is read with the credentials of whoever runs; our own code reads it, never the user's.
_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CLOUD_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "GCS_")


def prepare_data(job: Job) -> Made:
    """Snapshot, contract and split, from an earlier run where the source's files are the same."""
    identity = _identity(job)
    key = None if identity is None else _key(job, identity)
    if key is not None and (outputs := look_up(job, key)) is not None:
        return Made(outputs, _facts(outputs), key, is_cached=True)
    outputs = _call(job, msgspec.to_builtins(job.request.data))
    manifest = msgspec.convert(outputs.pop("manifest"), SnapshotManifest)
    job.bench.path("data.json").write_bytes(msgspec.json.encode(outputs["digests"]))

    def commit(conn: Connection) -> None:
        actor, now = job.request.actor, job.shop.clock.now()
        add_snapshot(conn, manifest, actor=actor, now=now, run_id=job.run_id)

    if key is not None and _identity(job) != identity:
        key = None  # a file was written to while it was read: nobody else should get this for those files
    for finding in outputs["findings"]:
        job.bench.write_line(f"warning: {finding['sentence']}")
    return Made(outputs, _facts(outputs), key, commit=commit)


def ready_data(job: Job, prepared: dict[str, Any]) -> None:
    """The parts as files on this machine; made again from the snapshot if they are not here."""
    known = job.bench.path("data.json")
    if known.is_file() and msgspec.json.decode(known.read_bytes()) == prepared["digests"]:
        return
    outputs = _call(job, {"kind": "snapshot", "digest": prepared["snapshot"]})
    known.write_bytes(msgspec.json.encode(outputs["digests"]))


def ready_beside(job: Job, snapshot: str, names: list[str]) -> Path | None:
    """A file with columns that this project does not take and another model does, of the held-out rows in their order.

    None where the snapshot has none of them, or where steps before training may make other rows of those held out.
    """
    if not names or any(step.at == "train" for step in job.project.steps):
        return None
    outputs = _call(job, {"kind": "snapshot", "digest": snapshot}, beside=names)
    job.bench.path("data.json").write_bytes(msgspec.json.encode(outputs["digests"]))
    path = job.bench.path("held_out") / BESIDE_NAME
    return path if path.is_file() else None


def _key(job: Job, identity: list[Any]) -> str:
    project = job.project
    return step_key(
        "prepare",
        identity=identity,
        model=project.model,
        data=project.data,
        contract=project.contract,
        split=job.split,
        seed=project.train.seed,
        hidden=sorted(hidden_columns(project.log)),
    )


def _call(job: Job, choice: dict[str, Any], *, beside: list[str] | None = None) -> dict[str, Any]:
    project, shop = job.project, job.shop
    job.bench.path("data.json").unlink(missing_ok=True)
    payload = {
        "choice": choice,
        "folder": job.request.folder,
        "model": msgspec.to_builtins(project.model),
        "data": msgspec.to_builtins(project.data),
        "contract": msgspec.to_builtins(project.contract),
        "split": msgspec.to_builtins(job.split),
        "has_train_steps": any(step.at == "train" for step in project.steps),
        "seed": project.train.seed,
        "hidden": sorted(hidden_columns(project.log)),
        "beside": beside or [],
        "blobs": shop.blobs.url,
        "now": isoformat(shop.clock.now()),
        "to": {"data": str(job.bench.fresh("data")), "held_out": str(job.bench.fresh("held_out"))},
    }
    limits = ChildLimits(
        environment=_variables([project.data.source, *(join.source for join in project.data.join)])
    )
    return call_child(shop, job.run_id, "prepare", payload, job.bench.folder, limits)


def _identity(job: Job) -> list[Any] | None:
    """What says that the rows are the same: a snapshot's digest, or the digests of the source's files.

    None for a source that can't be looked at without reading it: databases and other machines.
    """
    if job.request.data.kind == "snapshot":
        return ["snapshot", job.request.data.digest]
    data = job.project.data
    files: list[Any] = []
    for source in (data.source, *(join.source for join in data.join)):
        found = source_files(source, job.request.folder)
        if found is None:
            return None
        files.append([source, found])
    return ["files", files]


def source_files(source: str, folder: str | None) -> list[list[str]] | None:
    """Name and digest of each file of a source; None for one that is no file."""
    found = _list_files(source, folder)
    return None if found is None else [[path.name, digest_file(path)] for path in found]


def _list_files(source: str, folder: str | None) -> list[Path] | None:
    source = _NAMED.sub(lambda match: os.environ.get(match[1], match[0]), source).removeprefix("file://")
    if "://" in source:
        return None
    path = Path(folder or ".") / Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_file():
        return [path]
    return sorted(Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name))


def _variables(sources: list[str]) -> dict[str, str]:
    """What the child needs to read the sources: cloud credentials, and the variables that sources name."""
    named = {name for source in sources for name in _NAMED.findall(source)}
    return {
        name: value
        for name, value in os.environ.items()
        if name in named or name.startswith(_CLOUD_VARIABLES)
    }


def _facts(outputs: dict[str, Any]) -> dict[str, Any]:
    rows = outputs["rows"]
    return {
        "snapshot": outputs["snapshot"],
        "rows": rows["source"],
        "train": rows["train"],
        "validation": rows["validation"],
        "test": rows["test"],
        "split": outputs["split"],
        "features": len(outputs["features"]),
        "warnings": len(outputs["findings"]),
    }
