from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from flyball.core.records import LogRecord, OutcomeRecord, PredictionRecord, label_text

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def a_prediction(**fields: object) -> PredictionRecord:
    return PredictionRecord(
        format=1, id="prd_1", model="bike", at=NOW, received_at=NOW, role="champion", asked=1, **fields
    )


def test_both_kinds_come_back_from_bytes_as_what_they_were():
    outcome = OutcomeRecord(
        format=1, id="out_1", model="bike", value=3.5, at=NOW, received_at=NOW, prediction_id="prd_1"
    )
    records: list[LogRecord] = [
        a_prediction(input={"a": 1, "b": None, "c": "ü", "d": 1.5, "e": True}, output=2.0),
        outcome,
    ]

    data = msgspec.msgpack.encode(records)

    assert msgspec.msgpack.decode(data, type=list[LogRecord]) == records


def test_fields_that_are_not_told_take_no_room():
    written = msgspec.msgpack.decode(msgspec.msgpack.encode(a_prediction()))

    assert set(written) == {"kind", "format", "id", "model", "at", "received_at", "role", "asked"}


def test_a_later_release_may_add_fields_and_this_one_reads_on():
    data = msgspec.msgpack.encode(
        msgspec.to_builtins(a_prediction()) | {"at": NOW, "received_at": NOW, "novelty": [1]}
    )

    assert msgspec.msgpack.decode(data, type=LogRecord) == a_prediction()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (True, "true"),
        (False, "false"),
        ("<30", "<30"),
        (1.5, "1.5"),
        (-2, "-2"),
    ],
)
def test_a_class_has_one_written_form(value: object, text: str):
    assert label_text(value) == text
