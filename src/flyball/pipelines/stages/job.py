"""One run as its steps see it, and how a step is made: begun, looked up, done, kept, each noted where it survives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.digests import digest_json
from flyball.core.errors import CorruptObject, FlyballError
from flyball.core.project import Project, SplitSection
from flyball.data.catalogue import add_snapshot
from flyball.data.snapshots import read_manifest
from flyball.pipelines.request import RunRequest
from flyball.pipelines.runs import begin_step, end_step, find_cached, keep_cached
from flyball.pipelines.shared_steps import entry_key, find_shared, keep_shared, read_shared
from flyball.pipelines.workshop import Bench, Workshop

STEPS = ("source", "environment", "prepare", "train", "evaluate", "test", "register")
# Raise a step's number when its code gives something else for the same inputs.
_VERSIONS = {"prepare": 1, "train": 1, "evaluate": 5, "test": 3, "register": 1}


@dataclass(frozen=True)
class Job:
    """A run that is being made: the stores, the request, and the folders of this machine."""

    shop: Workshop
    run_id: str
    request: RunRequest

    @property
    def bench(self) -> Bench:
        """The run's folders."""
        return self.shop.bench(self.run_id)

    @property
    def project(self) -> Project:
        """The project that is run, overrides applied."""
        return self.request.project

    @property
    def split(self) -> SplitSection:
        """How rows are divided: as the request says, else as the project does."""
        return self.request.split or self.project.data.split


@dataclass
class Given:
    """What the steps of a run have given so far: the outputs of each, empty before it is made.

    A run whose process died gets it back from the records of its steps.
    """

    source: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)
    evaluated: dict[str, Any] = field(default_factory=dict)
    tests: list[dict[str, Any]] = field(default_factory=list)

    def digest_of(self, path: str) -> str | None:
        """The digest of a file that training made, None where it made none of this name."""
        return next((str(file["digest"]) for file in self.trained["files"] if file["path"] == path), None)


@dataclass(frozen=True)
class Made:
    """What a step gives. `facts` are shown; `commit` writes what belongs into the transaction that ends the step."""

    outputs: dict[str, Any]
    facts: dict[str, Any]
    key: str | None = None
    is_cached: bool = False
    commit: Callable[[Connection], None] | None = None


def step_key(step: str, **inputs: Any) -> str:
    """The name under which a step's outputs are kept: a digest of the step's code version and all its inputs."""
    return digest_json({"step": step, "version": _VERSIONS[step], "inputs": msgspec.to_builtins(inputs)})


def look_up(job: Job, key: str) -> dict[str, Any] | None:
    """What a step gave for the same inputs before, here or on any machine that shares the object store, or None."""
    if job.shop.settings.cache == "off":
        return None
    with job.shop.database.read() as conn:
        found = find_cached(conn, key)
    if found is not None and _is_as_kept(job, key, found):
        return found
    return _look_up_shared(job, key)


def _is_as_kept(job: Job, key: str, found: dict[str, Any]) -> bool:
    """Whether a row of the database says what the entry with a digest says: gates and metrics come from it."""
    try:
        kept = read_shared(job.shop.blobs, key)
    except CorruptObject:
        return False  # told when the entry is looked at as a whole
    if kept is not None and kept.outputs == found:
        return True
    what = "is not there any more" if kept is None else "says something else"
    job.bench.write_line(
        f"warning: what the database keeps of an earlier run is not used: {entry_key(key)} with its digest {what}"
    )
    return False


def _look_up_shared(job: Job, key: str) -> dict[str, Any] | None:
    """What another machine kept, noted here with the snapshot that it names, so that this is asked once."""
    shop = job.shop
    try:
        shared = find_shared(shop.blobs, key)
    except CorruptObject as error:
        job.bench.write_line(f"warning: {error.message}")
        return None
    if shared is None:
        return None
    snapshot = shared.outputs.get("snapshot")
    manifest = None if snapshot is None else read_manifest(snapshot, shop.blobs)
    now = shop.clock.now()
    with shop.database.write() as conn:
        if manifest is not None:
            add_snapshot(conn, manifest, actor=job.request.actor, now=now, run_id=job.run_id)
        keep_cached(conn, key, shared.step, shared.outputs, job.run_id, now)
    return shared.outputs


def make_step(job: Job, name: str, work: Callable[[], Made]) -> dict[str, Any]:
    """The outputs of a step; begin, end and failure are noted, and outputs with a key are kept for later runs."""
    shop, run_id = job.shop, job.run_id
    with shop.database.write() as conn:
        attempt = begin_step(conn, run_id, name, STEPS.index(name), shop.clock.now())
    job.bench.write_line(f"{name} …" if attempt == 1 else f"{name} … (begun for the {attempt}. time)")
    shop.observe(run_id, name, "begun")
    try:
        made = work()
    except FlyballError as error:
        facts = {"code": error.code, "message": error.message}
        with shop.database.write() as conn:
            end_step(conn, run_id, name, shop.clock.now(), state="failed", error=facts)
        raise
    kept: dict[str, Any] = {}
    keeps = made.key is not None and not made.is_cached and shop.settings.cache == "read-write"
    if made.key is not None and keeps:
        kept = keep_shared(shop.blobs, made.key, name, made.outputs)
    now = shop.clock.now()
    with shop.database.write() as conn:
        if made.commit is not None:
            made.commit(conn)
        if made.key is not None and keeps:
            keep_cached(conn, made.key, name, kept, run_id, now)
        end_step(
            conn,
            run_id,
            name,
            now,
            state="done",
            cached=made.is_cached,
            key=made.key,
            facts=made.facts,
            error=None,
        )
    shown = ", ".join(
        f"{key} {value}" for key, value in made.facts.items() if isinstance(value, str | int | float)
    )
    job.bench.write_line(
        f"{name} {'unchanged' if made.is_cached else 'done'}" + (f": {shown}" if shown else "")
    )
    shop.observe(run_id, name, "cached" if made.is_cached else "done")
    return made.outputs
