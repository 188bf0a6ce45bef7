"""The long-lived formats of this package (docs/decisions/0001): what was written once is read for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from flyball.core.records import LogRecord, OutcomeRecord, PredictionRecord
from flyball.data.content import digest_content
from flyball.data.segments import SegmentHeader, encode_records, frame, read_segment, segment_start
from flyball.data.snapshots import SnapshotColumn, SnapshotManifest, SnapshotPart, encode_manifest

GOLDEN = Path(__file__).parents[2] / "golden"
AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
FULL = PredictionRecord(
    format=1,
    id="prd_0199a8f0c0007000800000000000abcd",
    model="credit-default",
    at=AT,
    received_at=datetime(2026, 3, 1, 12, 30, 1, tzinfo=UTC),
    role="candidate",
    asked=4,
    answered=3,
    revision=12,
    request_id="req-1",
    entity="client 7",
    input={"age": 41, "income": 1234.5, "owner": True, "region": "Zürich", "since": None},
    output="yes",
    scores=[0.25, 0.75],
    flags=["range:age"],
    error="exception: division by zero",
    latency_us=840,
    trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
SPARSE = PredictionRecord(
    format=1,
    id="prd_0199a8f0c0007000800000000000abce",
    model="bike",
    at=AT,
    received_at=AT,
    role="champion",
    asked=1,
    answered=1,
    output=12.5,
)
OUTCOME = OutcomeRecord(
    format=1, id="out_1", model="credit-default", value="no", at=AT, received_at=AT, prediction_id=FULL.id
)
MOMENT = OutcomeRecord(
    format=1, id="out_2", model="bike", value=17.0, at=AT, received_at=AT, entity="dock 3", time=AT
)
RECORDS: list[LogRecord] = [FULL, SPARSE, OUTCOME, MOMENT]
HEADER = SegmentHeader(worker="server-1", sequence=1772368200123, created_at=AT)
ROWS = pl.DataFrame(
    {"age": [41, None], "region": ["Zürich", "Bern"], "default": [True, False], "at": [AT, AT]}
)


def test_a_prediction_record_of_version_1_is_read_and_written_as_ever():
    golden = (GOLDEN / "prediction-record-1.msgpack").read_bytes()

    assert msgspec.msgpack.decode(golden, type=list[LogRecord]) == RECORDS
    assert encode_records(RECORDS) == golden


def test_a_segment_of_version_1_is_read_and_written_as_ever():
    golden = (GOLDEN / "segment-1.seg").read_bytes()

    segment = read_segment(golden)

    assert (segment.header, segment.records) == (HEADER, RECORDS)
    assert (
        segment_start(HEADER)
        + frame(encode_records([FULL, SPARSE]))
        + frame(encode_records([OUTCOME, MOMENT]))
        == golden
    )


def test_a_snapshot_manifest_of_version_1_is_read_and_written_as_ever_and_names_its_content():
    golden = (GOLDEN / "snapshot-manifest-1.json").read_bytes()

    manifest = msgspec.json.decode(golden, type=SnapshotManifest)

    assert manifest == SnapshotManifest(
        digest=digest_content(ROWS),
        rows=2,
        columns=[
            SnapshotColumn("age", "int64"),
            SnapshotColumn("region", "string"),
            SnapshotColumn("default", "bool"),
            SnapshotColumn("at", "datetime[us, UTC]"),
        ],
        parts=[SnapshotPart("sha256:" + "ab" * 32, 1890, 2)],
        source="data/credit.parquet",
        created_at=AT,
    )
    assert encode_manifest(manifest) == golden


def test_what_a_later_release_adds_within_version_1_is_passed_over():
    record = msgspec.msgpack.decode((GOLDEN / "prediction-record-1.msgpack").read_bytes())[0] | {
        "propensity": 0.5
    }
    manifest = msgspec.json.decode((GOLDEN / "snapshot-manifest-1.json").read_bytes()) | {"licence": "CC BY"}

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=LogRecord) == FULL
    assert msgspec.convert(manifest, SnapshotManifest, strict=False).rows == 2
