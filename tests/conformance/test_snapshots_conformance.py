from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from flyball.core.errors import Corrupt, CorruptSnapshot, NewerFormat, NotFound, SnapshotNotFound
from flyball.core.values import Actor
from flyball.data import snapshots
from flyball.data.catalogue import add_snapshot, list_snapshots
from flyball.data.content import digest_content
from flyball.data.snapshots import manifest_key, read_manifest, read_snapshot, take_snapshot
from flyball.governance.journal import list_entries

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FRAME = pl.DataFrame({"n": [3, None, 1], "s": ["a", "b", None], "t": [NOW, None, NOW]})
ANNA = Actor("anna")


def test_a_snapshot_is_named_by_its_content_and_comes_back_in_order(blobs: Any):
    manifest = take_snapshot(FRAME, source="data/t.csv", blobs=blobs, now=NOW)

    assert manifest.digest == digest_content(FRAME)
    assert read_snapshot(manifest.digest, blobs).equals(FRAME)
    assert read_manifest(manifest.digest, blobs) == manifest
    assert (manifest.rows, [column.type for column in manifest.columns]) == (
        3,
        ["int64", "string", "datetime[us, UTC]"],
    )


def test_content_that_is_stored_is_not_stored_again_and_keeps_its_first_manifest(blobs: Any):
    first = take_snapshot(FRAME, source="one", blobs=blobs, now=NOW)
    keys = blobs.list()

    second = take_snapshot(
        FRAME.with_columns(pl.col("s").cast(pl.Categorical)),
        source="two",
        blobs=blobs,
        now=NOW + timedelta(days=1),
    )

    assert second == first
    assert blobs.list() == keys


def test_large_frames_are_stored_in_parts(file_blobs: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "PART_ROWS", 40)
    frame = pl.DataFrame({"n": range(100)})

    manifest = take_snapshot(frame, source="s", blobs=file_blobs, now=NOW)

    assert [part.rows for part in manifest.parts] == [40, 40, 20]
    assert read_snapshot(manifest.digest, file_blobs).equals(frame)


def test_an_empty_frame_has_a_snapshot_too(file_blobs: Any):
    manifest = take_snapshot(FRAME.clear(), source="s", blobs=file_blobs, now=NOW)

    assert read_snapshot(manifest.digest, file_blobs).schema == FRAME.schema


def test_every_flipped_byte_of_a_part_or_manifest_is_found_and_nothing_of_it_is_used(file_blobs: Any):
    manifest = take_snapshot(FRAME, source="s", blobs=file_blobs, now=NOW)
    part_key = file_blobs.object_key(manifest.parts[0].digest)
    good = file_blobs.get(part_key)
    for position in range(0, len(good), 11):
        data = bytearray(good)
        data[position] ^= 1
        file_blobs.put_latest(part_key, bytes(data))
        with pytest.raises(Corrupt):
            read_snapshot(manifest.digest, file_blobs)
    file_blobs.put_latest(part_key, good)
    other = take_snapshot(FRAME.reverse(), source="s", blobs=file_blobs, now=NOW)
    file_blobs.put_latest(manifest_key(manifest.digest), file_blobs.get(manifest_key(other.digest)))
    with pytest.raises(CorruptSnapshot, match="not what its name says"):
        read_snapshot(manifest.digest, file_blobs)
    file_blobs.put_latest(manifest_key(manifest.digest), b"{torn")
    with pytest.raises(CorruptSnapshot, match="manifest"):
        read_snapshot(manifest.digest, file_blobs)


def test_taking_it_again_repairs_a_snapshot_whose_parts_are_gone(file_blobs: Any):
    manifest = take_snapshot(FRAME, source="s", blobs=file_blobs, now=NOW)
    file_blobs.delete(file_blobs.object_key(manifest.parts[0].digest))
    with pytest.raises(NotFound):
        read_snapshot(manifest.digest, file_blobs)

    take_snapshot(FRAME, source="s", blobs=file_blobs, now=NOW)

    assert read_snapshot(manifest.digest, file_blobs).equals(FRAME)


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "../../etc/passwd", "", "latest"])
def test_a_snapshot_that_is_not_there_is_not_found_whatever_it_is_called(digest: str, file_blobs: Any):
    with pytest.raises(SnapshotNotFound):
        read_snapshot(digest, file_blobs)


def test_a_newer_manifest_is_refused_and_left_alone(file_blobs: Any):
    digest = "sha256:" + "1" * 64
    newer = b'{"format": 2, "everything": "else"}'
    file_blobs.create(manifest_key(digest), newer)

    with pytest.raises(NewerFormat, match="newer"):
        read_snapshot(digest, file_blobs)
    assert file_blobs.get(manifest_key(digest)) == newer


def test_the_catalogue_enters_a_snapshot_once_with_its_audit_entry(database: Any, file_blobs: Any):
    manifest = take_snapshot(FRAME, source="data/t.csv", blobs=file_blobs, now=NOW)

    with database.write() as conn:
        assert add_snapshot(conn, manifest, actor=ANNA, now=NOW, model="m1", run_id="run_1") is True
        assert add_snapshot(conn, manifest, actor=ANNA, now=NOW, model="m2", run_id="run_2") is False
    with database.read() as conn:
        (entry,) = list_snapshots(conn)
        assert list_snapshots(conn, model="m1") == [entry]
        assert list_snapshots(conn, model="m2") == []
        assert [line.action for line in list_entries(conn)] == ["snapshot.created"]
    assert entry.digest == manifest.digest
    assert (entry.row_count, entry.column_count, entry.run_id, entry.created_at) == (3, 3, "run_1", NOW)
