"""The record of a version, which goes between releases (docs/decisions/0001): written once, read for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.backends.blobs.files import FileBlobs
from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import canonical_json, digest_bytes
from flyball.core.errors import BadInput, NewerFormat
from flyball.data.snapshots import SnapshotColumn, SnapshotManifest, SnapshotPart
from flyball.operations.environments.receiving import read_record_sent
from flyball.operations.environments.transfer import Record, decode_record
from flyball.registry.evidence import Evidence
from flyball.registry.models import Model
from flyball.registry.versions import ModelVersion

GOLDEN = Path(__file__).parents[2] / "golden" / "version-record-1.json"
AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
ROWS = digest_bytes(b"rows")
RECORD = Record(
    version=ModelVersion(
        model="shop",
        number=3,
        digest=digest_bytes(b"bundle"),
        run_id="run_0199a8f0c0007000800000000000abcd",
        state="registered",
        created_at=AT,
        task="binary",
        isolated=False,
        snapshot=ROWS,
        source_tree=digest_bytes(b"tree"),
        environment=digest_bytes(b"packages"),
        project={"model": {"name": "shop", "task": "binary", "target": "returned"}, "gates": []},
        contract=Contract(features={"items": FeatureRule(type="int", min=1)}),
        params={"learning_rate": 0.1},
        metrics={"roc_auc": 0.81},
        lineage={"trained_rows": digest_bytes(b"trained"), "seed": 7},
        why="more items",
        author="ada",
    ),
    model=Model(name="shop", task="binary", owner="Zürich", description=None, created_at=AT),
    evidence=[
        Evidence(
            id="evd_0199a8f0c0007000800000000000abce",
            model="shop",
            number=3,
            seq=1,
            kind="gate",
            at=AT,
            actor="ada",
            facts={"metric": "roc_auc", "min": 0.7, "outcome": "pass", "because": "0.81 is at least 0.7"},
        )
    ],
    origin={
        "environment": "staging",
        "number": 3,
        "digest": digest_bytes(b"bundle"),
        "registered_at": "2026-03-01T12:30:00.123456Z",
        "author": "ada",
        "author_id": "local:1000",
        "folder": None,
        "compared_with": None,
    },
    snapshot=SnapshotManifest(
        digest=ROWS,
        rows=2,
        columns=[SnapshotColumn("items", "int64"), SnapshotColumn("returned", "bool")],
        parts=[SnapshotPart(digest=digest_bytes(b"part"), size_bytes=1890, rows=2)],
        source="orders.csv",
        created_at=AT,
    ),
)


def _stored(blobs: FileBlobs, document: Any) -> str:
    return blobs.put_object(canonical_json(document))


def test_a_record_of_format_1_is_read_and_written_as_ever(file_blobs: FileBlobs):
    golden = GOLDEN.read_bytes().strip()
    assert decode_record(golden, digest_bytes(golden)) == RECORD
    assert canonical_json(RECORD) == golden
    assert read_record_sent(file_blobs, file_blobs.put_object(golden)) == RECORD


def test_what_a_later_release_adds_within_the_format_is_passed_over(file_blobs: FileBlobs):
    told: dict[str, Any] = msgspec.json.decode(GOLDEN.read_bytes())
    told["region"] = "eu"
    for name in ("version", "model", "origin", "snapshot"):
        told[name]["region"] = "eu"
    told["evidence"][0]["region"] = "eu"
    assert read_record_sent(file_blobs, _stored(file_blobs, told)) == RECORD


def test_a_later_format_is_refused_by_name_and_its_bytes_are_left_alone(file_blobs: FileBlobs):
    newer = {"format": 2, "everything": "else"}
    digest = _stored(file_blobs, newer)
    with pytest.raises(NewerFormat, match=r"has format 2.*update Flyball here"):
        read_record_sent(file_blobs, digest)
    assert file_blobs.get_object(digest) == canonical_json(newer)


@pytest.mark.parametrize("document", [{}, {"format": 0}, {"format": 1}, {"format": "1"}, [1]])
def test_what_is_no_record_is_told_as_none(file_blobs: FileBlobs, document: Any):
    with pytest.raises(BadInput, match="is no record of a version"):
        read_record_sent(file_blobs, _stored(file_blobs, document))
