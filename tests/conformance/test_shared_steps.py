"""Results of steps in the object store, on files and S3: kept once, read whole, refused when they are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from flyball.core.digests import digest_bytes
from flyball.core.errors import CorruptObject
from flyball.data.snapshots import manifest_key, take_snapshot
from flyball.pipelines.shared_steps import (
    FOLDER,
    Entry,
    SharedStep,
    encode_entry,
    entry_key,
    find_shared,
    keep_shared,
)

KEY = digest_bytes(b"inputs")


def _keep(blobs: Any, value: float = 1.5) -> str:
    model = blobs.put_object(b"a model")
    keep_shared(blobs, KEY, "train", {"files": [{"path": "m", "digest": model}], "value": value, "data": KEY})
    return str(model)


def _forge(data: bytes) -> bytes:
    return data.replace(b'"value":1.5', b'"value":9.0')


def _move(data: bytes) -> bytes:
    content = msgspec.json.decode(msgspec.json.decode(data, type=Entry).content, type=SharedStep)
    return encode_entry(msgspec.structs.replace(content, key=digest_bytes(b"other inputs")))


def test_what_was_kept_is_found_and_a_second_result_does_not_replace_the_first(blobs: Any):
    assert find_shared(blobs, KEY) is None
    model = _keep(blobs)
    _keep(blobs, 2.5)
    found = find_shared(blobs, KEY)
    assert found is not None and (found.step, found.outputs["value"]) == ("train", 1.5)
    assert list(found.outputs) == ["files", "value", "data"]  # the order of keys may be that of columns
    assert found.objects == [model]  # what only looks like the name of an object is none


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_forge, "its content is not what its digest says"),
        (_move, "it was made for other inputs"),
        (lambda data: b"\x00 no JSON", "it can't be read"),
        (lambda data: data[:-20], "it can't be read"),
        (lambda data: data.replace(b'"format":1', b'"format":9'), "it has format 9"),
    ],
)
def test_an_entry_that_was_tampered_with_is_refused_and_replaced_by_the_next_result(
    blobs: Any, damage: Callable[[bytes], bytes], problem: str
):
    _keep(blobs)
    place = entry_key(KEY)
    blobs.put_latest(place, damage(blobs.get(place)))
    with pytest.raises(CorruptObject, match=problem):
        find_shared(blobs, KEY)
    _keep(blobs, 2.5)
    found = find_shared(blobs, KEY)
    assert found is not None and found.outputs["value"] == 2.5


def test_an_entry_whose_object_has_other_bytes_or_is_gone_is_refused(blobs: Any):
    model = _keep(blobs)
    blobs.put_latest(blobs.object_key(model), b"another")  # as long: only the digest can tell
    with pytest.raises(CorruptObject, match="other bytes than its name says"):
        find_shared(blobs, KEY)
    with pytest.raises(CorruptObject, match=f"{model} is gone"):  # the damaged bytes were removed
        find_shared(blobs, KEY)
    _keep(blobs)
    assert find_shared(blobs, KEY) is not None


def test_an_entry_whose_snapshot_has_another_manifest_or_none_is_refused(blobs: Any):
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    snapshot = take_snapshot(
        frame, source="rows.csv", blobs=blobs, now=datetime(2026, 1, 1, tzinfo=UTC)
    ).digest
    keep_shared(blobs, KEY, "prepare", {"snapshot": snapshot})
    found = find_shared(blobs, KEY)
    assert found is not None and list(found.files) == [manifest_key(snapshot)]
    blobs.put_latest(manifest_key(snapshot), blobs.get(manifest_key(snapshot)) + b" ")
    with pytest.raises(CorruptObject, match="is another than it was"):
        find_shared(blobs, KEY)
    blobs.delete(manifest_key(snapshot))
    with pytest.raises(CorruptObject, match="is gone"):
        find_shared(blobs, KEY)


def test_an_entry_of_another_step_under_this_name_is_refused_though_its_digest_is_right(blobs: Any):
    _keep(blobs)
    other = digest_bytes(b"inputs of another step")
    keep_shared(blobs, other, "evaluate", {"gates": []})
    blobs.put_latest(entry_key(KEY), blobs.get(entry_key(other)))
    with pytest.raises(CorruptObject, match="it was made for other inputs"):
        find_shared(blobs, KEY)
    _keep(blobs, 2.5)
    found = find_shared(blobs, KEY)
    assert found is not None and (found.step, found.outputs["value"]) == ("train", 2.5)


def test_a_thousand_junk_entries_are_in_nobodys_way(blobs: Any):
    kinds = (b"", b"null", b"[" * 5_000, b'{"format":1}', b"\xff")
    junk = [(entry_key(digest_bytes(b"junk %d" % number)), kinds[number % 5]) for number in range(1_000)]
    junk += [(f"{FOLDER}/no-entry-{number}", b"junk") for number in range(10)]
    if blobs.url.startswith("file://"):  # past the store, which syncs each file
        folder = Path(blobs.url.removeprefix("file://"))
        (folder / FOLDER).mkdir(parents=True)
        for name, data in junk:
            (folder / name).write_bytes(data)
    else:
        for name, data in [*junk[:100], *junk[-10:]]:
            blobs.put_latest(name, data)
    _keep(blobs)
    found = find_shared(blobs, KEY)
    assert found is not None and found.outputs["value"] == 1.5
    assert find_shared(blobs, digest_bytes(b"never made")) is None
    for number in range(10):
        with pytest.raises(CorruptObject, match="it can't be read"):
            find_shared(blobs, digest_bytes(b"junk %d" % number))
