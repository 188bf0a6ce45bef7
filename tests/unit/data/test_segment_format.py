from __future__ import annotations

import random
import zlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import NewerFormat, NotASegment
from flyball.core.records import LogRecord, OutcomeRecord, PredictionRecord
from flyball.data.segments import MAGIC, SegmentHeader, encode_records, frame, read_segment, segment_start

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADER = SegmentHeader(worker="s-1", sequence=1, created_at=NOW)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


def a_record(number: int, **fields: object) -> PredictionRecord:
    return PredictionRecord(
        format=1,
        id=f"prd_{number}",
        model="bike",
        at=NOW,
        received_at=NOW,
        role="champion",
        asked=1,
        **fields,
    )


def a_segment(*batches: list[LogRecord]) -> bytes:
    return segment_start(HEADER) + b"".join(frame(encode_records(batch)) for batch in batches)


def test_records_come_back_in_the_order_they_were_written():
    outcome = OutcomeRecord(
        format=1, id="out_1", model="bike", value="yes", at=NOW, received_at=NOW, entity="e", time=NOW
    )
    written: list[list[LogRecord]] = [[a_record(1), a_record(2)], [outcome], [a_record(3)]]

    segment = read_segment(a_segment(*written))

    assert segment.header == HEADER
    assert segment.records == [record for batch in written for record in batch]
    assert (segment.torn_bytes, segment.damaged_frames) == (0, 0)


@given(st.lists(st.dictionaries(st.text(max_size=10), VALUES, max_size=5), max_size=5))
def test_any_input_that_json_can_carry_comes_back(inputs: list[dict[str, object]]):
    records = [a_record(number, input=given_input) for number, given_input in enumerate(inputs)]

    read = read_segment(a_segment(*[[record] for record in records])).records

    for record, again in zip(records, read, strict=True):
        assert isinstance(again, PredictionRecord)
        for name, value in record.input.items():
            too_large = type(value) is int and not -(2**63) <= value < 2**64
            assert again.input[name] == (str(value) if too_large else value)


def test_an_integer_that_no_format_holds_is_kept_as_text_and_costs_no_record():
    record = a_record(1, input={"a": 2**70, "b": [2**70, {"c": -(2**70)}], "d": 10**9000})

    (again,) = read_segment(a_segment([record])).records

    assert isinstance(again, PredictionRecord)
    assert again.input["a"] == str(2**70)
    assert again.input["b"] == [str(2**70), {"c": str(-(2**70))}]
    assert isinstance(again.input["d"], str)


def test_half_a_surrogate_pair_costs_no_record():
    record = a_record(1, input={"a\ud800": "b\udc00"}, entity="\ud800", error="in file \udcff")

    (again,) = read_segment(a_segment([record])).records

    assert isinstance(again, PredictionRecord)
    assert (again.input, again.entity, again.error) == ({"a?": "b?"}, "?", "in file ?")


def test_a_torn_last_frame_is_left_out_and_measured_at_every_length():
    whole, torn = a_segment([a_record(1)], [a_record(2)]), frame(encode_records([a_record(3)]))

    for length in range(len(torn)):
        segment = read_segment(whole + torn[:length])
        assert [record.id for record in segment.records] == ["prd_1", "prd_2"], length
        assert segment.torn_bytes == length
        assert segment.damaged_frames == 0


def test_a_flipped_byte_in_the_middle_costs_its_frame_and_none_after_it():
    first, second, third = (frame(encode_records([a_record(number)])) for number in (1, 2, 3))
    start = segment_start(HEADER)
    data = bytearray(start + first + second + third)
    data[len(start) + len(first) + 20] ^= 0x10

    segment = read_segment(bytes(data))

    assert [record.id for record in segment.records] == ["prd_1", "prd_3"]
    assert (segment.torn_bytes, segment.damaged_frames) == (0, 1)


def test_every_flipped_byte_of_a_segment_is_noticed():
    good = a_segment([a_record(1)], [a_record(2)])
    expected = read_segment(good).records
    for position in range(len(good)):
        data = bytearray(good)
        data[position] ^= 0x01
        try:
            segment = read_segment(bytes(data))
        except NotASegment:
            continue
        assert segment.torn_bytes or segment.damaged_frames, position
        assert all(record in expected for record in segment.records), position


def test_a_record_of_an_unknown_shape_damages_its_frame_only():
    strange = frame(msgspec.msgpack.encode([{"kind": "p", "format": "one"}]))
    data = a_segment([a_record(1)]) + strange + frame(encode_records([a_record(2)]))

    segment = read_segment(data)

    assert [record.id for record in segment.records] == ["prd_1", "prd_2"]
    assert segment.damaged_frames == 1


@pytest.mark.parametrize(
    "data", [b"", b"FLYSEG", b"PAR1" * 100, MAGIC, MAGIC + b"\x05\x00\x00\x00", MAGIC + frame(b"{")]
)
def test_what_is_no_segment_is_refused(data: bytes):
    with pytest.raises(NotASegment):
        read_segment(data)


def test_a_segment_of_a_newer_format_is_refused_by_name_and_not_guessed_at():
    data = MAGIC + frame(b'{"format": 2, "everything": "else"}')

    with pytest.raises(NewerFormat, match="newer"):
        read_segment(data)


def test_a_length_that_claims_gigabytes_is_a_torn_tail_and_takes_no_memory():
    segment = read_segment(a_segment([a_record(1)]) + b"\xff\xff\xff\x7f" + b"\x00" * 100)

    assert (len(segment.records), segment.torn_bytes) == (1, 104)


def test_a_damaged_length_costs_its_frame_and_none_of_those_after_it():
    frames = [frame(encode_records([a_record(number)])) for number in range(5)]
    start = segment_start(HEADER)
    at = len(start) + len(frames[0])
    for length in (0, 1, 40, len(frames[1]) + 3, 2**20, 2**32 - 1):
        data = bytearray(start + b"".join(frames))
        data[at : at + 4] = length.to_bytes(4, "little")

        segment = read_segment(bytes(data))

        assert [record.id for record in segment.records] == ["prd_0", "prd_2", "prd_3", "prd_4"], length
        assert segment.torn_bytes == 0 and segment.damaged_frames >= 1


def test_a_page_of_zeros_over_a_segment_costs_the_frames_that_it_covers():
    frames = [frame(encode_records([a_record(number)])) for number in range(200)]
    good = segment_start(HEADER) + b"".join(frames)
    assert len(good) > 3 * 4096
    data = good[:4096] + bytes(4096) + good[8192:]

    segment = read_segment(data)

    ends = [len(segment_start(HEADER)) + sum(map(len, frames[: number + 1])) for number in range(200)]
    whole = [n for n, end in enumerate(ends) if end <= 4096 or end - len(frames[n]) >= 8192]
    assert [record.id for record in segment.records] == [f"prd_{number}" for number in whole]
    assert segment.torn_bytes == 0 and segment.damaged_frames >= 1


def test_a_long_torn_tail_is_not_read_over_and_over(monkeypatch: pytest.MonkeyPatch):
    tail = b"\xff\xff\xff\x0f" + random.Random(1).randbytes(8 * 2**20)
    checksum, checked = zlib.crc32, []
    monkeypatch.setattr(zlib, "crc32", lambda data: checked.append(len(data)) or checksum(data))

    segment = read_segment(a_segment([a_record(1)]) + tail)

    assert (len(segment.records), segment.torn_bytes) == (1, len(tail))
    # A checksum reads what its length claims, so it is for the few places that look like a frame, not for each.
    assert 2 <= len(checked) < len(tail) / 10_000


def test_a_damaged_header_costs_no_record():
    start = segment_start(HEADER)
    for position in range(len(MAGIC), len(start)):
        data = bytearray(a_segment([a_record(1)], [a_record(2)]))
        data[position] ^= 0x80
        segment = read_segment(bytes(data))
        assert [record.id for record in segment.records] == ["prd_1", "prd_2"], position
        assert segment.header is None and segment.damaged_frames >= 1
    with pytest.raises(NotASegment):
        read_segment(start[:-1])
