"""Runs that are asked for under a key: asked again they are the same run, and something else under it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.backends.db.database import Database
from flyball.core.errors import KeyInUse, NotFound
from flyball.pipelines.request import RunRequest, read_request
from flyball.pipelines.runs import Run, find_run
from flyball.pipelines.source_tree import SourceTree, collect_tree, read_tree, tree_digest

MOST_NAMED = 5


def find_repeated(database: Database, blobs: BlobStore, request: RunRequest) -> Run | None:
    """The run that a request's key has made already; None without one. Raises KeyInUse if it was another request."""
    if request.run_id is None or request.key is None or request.folder is None:
        return None
    with database.read() as conn:
        known = find_run(conn, request.run_id)
    if known is not None:
        files = collect_tree(Path(request.folder), request.project.data.source)
        _check(blobs, known, request, tree_digest(files), files)
    return known


def check_repeat(blobs: BlobStore, known: Run, request: RunRequest) -> None:
    """Raises KeyInUse, saying what differs, if a request with a key is not the one that its run was made for.

    Who asks, why and from which folder is not compared, nor are the rows: those of the first time stand.
    """
    if request.key is not None and request.tree is not None:
        _check(blobs, known, request, request.tree, None)


def _check(blobs: BlobStore, known: Run, request: RunRequest, tree: str, files: SourceTree | None) -> None:
    before = read_request(known.request)
    told = list(_differences(blobs, before, request, tree, files))
    if told:
        named = "; ".join(told[:MOST_NAMED])
        more = f"; and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
        raise KeyInUse(
            f"the key {request.key!r} made run {known.id}, of something else: {named}{more}. Choose another key",
            key=request.key,
            run_id=known.id,
            differs=told,
        )


def _differences(
    blobs: BlobStore, before: RunRequest, now: RunRequest, tree: str, files: SourceTree | None
) -> Iterator[str]:
    if before.model != now.model:
        yield f"model was {before.model}, is {now.model}"
    old, new = _flat(msgspec.to_builtins(before.project)), _flat(msgspec.to_builtins(now.project))
    for key in sorted({*old, *new} - {"model.name"}):
        if old.get(key) != new.get(key):
            yield f"{key} was {_shown(old.get(key))}, is {_shown(new.get(key))}"
    if before.tree is not None and before.tree != tree:
        changed = _changed_files(blobs, before.tree, tree, files)
        yield f"files differ: {', '.join(changed[:MOST_NAMED])}" if changed else "the project's files differ"


def _changed_files(blobs: BlobStore, before: str, tree: str, files: SourceTree | None) -> list[str]:
    try:
        old, new = read_tree(before, blobs), files or read_tree(tree, blobs)
    except NotFound:
        return []
    known = {file.path: file for file in old.files}
    present = {file.path: file for file in new.files}
    return [path for path in sorted({*known, *present}) if known.get(path) != present.get(path)]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys: `train.params.trees`."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {
        key: leaf
        for name, item in value.items()
        for key, leaf in _flat(item, f"{path}.{name}" if path else str(name)).items()
    }


def _shown(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
