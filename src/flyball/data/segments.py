"""Segments of the prediction log, format 1: a magic line, a header frame, frames of records.

A frame is `[u32 length][u32 crc32 of the payload][payload]`, little-endian; the header's payload is JSON, the
others' is a MessagePack list of records. A frame is handed to the operating system in one write, so what a killed
writer leaves behind is whole frames and at most one torn one at the end.
"""

from __future__ import annotations

import re
import struct
import zlib
from datetime import datetime

import msgspec

from flyball.core.errors import NotASegment
from flyball.core.formats import check_format
from flyball.core.records import LogRecord

MAGIC = b"FLYSEG1\n"
SEGMENT_FORMAT = 1
FRAME_HEAD = struct.Struct("<II")
FRAME_LIMIT_BYTES = 256 * 2**20
# A length below the limit, any checksum, and the head of a MessagePack list.
_LIKE_A_FRAME = re.compile(rb"(?s)(?=...[\x00-\x10]....[\x90-\x9f\xdc\xdd])")
FOLDER = "segments"
# What an encoder raises for values that no client's JSON should have led to, and that must cost no record.
UNWRITABLE = (OverflowError, UnicodeEncodeError)

_records_decoder = msgspec.msgpack.Decoder(list[LogRecord])
_encoder = msgspec.msgpack.Encoder()


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a segment: the worker, its running number there, and when it was begun (wall time)."""

    format: int = SEGMENT_FORMAT
    worker: str
    sequence: int
    created_at: datetime


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment holds.

    `header`: None where it is damaged. `records` in the order of writing. `torn_bytes`: length of the unfinished tail
    (0 after an orderly end). `damaged_frames`: frames in the middle whose checksum fails; they are left out and what
    follows is read.
    """

    header: SegmentHeader | None
    records: list[LogRecord]
    torn_bytes: int = 0
    damaged_frames: int = 0


def frame(payload: bytes) -> bytes:
    """A payload with its length and checksum before it."""
    return FRAME_HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def segment_start(header: SegmentHeader) -> bytes:
    """The first bytes of a segment: magic and header frame."""
    return MAGIC + frame(msgspec.json.encode(header))


def encode_records(records: list[LogRecord]) -> bytes:
    """The payload of a frame. Integers that MessagePack can't hold are written as text, half surrogates as `?`."""
    try:
        return _encoder.encode(records)
    except UNWRITABLE:
        return _encoder.encode([_made_writable(record) for record in records])


def read_segment(data: bytes) -> Segment:
    """Header and records of a segment. Raises NotASegment for anything else, NewerFormat.

    A tail that is no whole frame is left out and counted in `torn_bytes`: the writer was killed before it had
    acknowledged those records. Damage before a whole frame costs the frames it lies in, counted in `damaged_frames`,
    and no other: where a length can't be trusted, the next frame is found by its checksum.
    """
    if not data.startswith(MAGIC):
        raise NotASegment("these bytes are no segment of the prediction log: the first line is not FLYSEG1")
    head = _payload_at(data, len(MAGIC))
    header, position = (None, len(MAGIC)) if head is None else (_read_header(head[0]), head[1])
    records: list[LogRecord] = []
    damaged = 0
    while position < len(data):
        found = _payload_at(data, position)
        batch = None if found is None else _decode(found[0])
        if batch is not None and found is not None:
            records.extend(batch)
            position = found[1]
            continue
        after = _next_frame(data, position)
        if after is None:
            break
        position, lost = after
        damaged += lost
    if header is None and not records:
        raise NotASegment("this segment's header is torn or damaged, and no record follows it")
    return Segment(header=header, records=records, torn_bytes=len(data) - position, damaged_frames=damaged)


def _read_header(payload: bytes) -> SegmentHeader:
    try:
        check_format(payload, SEGMENT_FORMAT, "this segment")
        return msgspec.json.decode(payload, type=SegmentHeader)
    except msgspec.DecodeError as error:
        raise NotASegment(f"this segment's header can't be read: {error}") from error


def _payload_at(data: bytes, position: int) -> tuple[bytes, int] | None:
    """Payload and end of the frame that starts here, None when it is torn or its checksum fails."""
    end = _declared_end(data, position)
    if end is None:
        return None
    _, checksum = FRAME_HEAD.unpack_from(data, position)
    payload = data[position + FRAME_HEAD.size : end]
    return (payload, end) if zlib.crc32(payload) == checksum else None


def _next_frame(data: bytes, position: int) -> tuple[int, int] | None:
    """Where whole frames go on behind damaged ones, or the end if there are none, and how many were lost at least.

    None for a torn tail. The lengths of damaged frames are believed if they lead to either; else every place that
    looks like the head of a frame is tried, and its checksum decides.
    """
    lost, end = 0, _declared_end(data, position)
    while end is not None:
        lost += 1
        if end == len(data) or _payload_at(data, end) is not None:
            return end, lost
        end = _declared_end(data, end)
    for found in _LIKE_A_FRAME.finditer(data, position + 1):
        if _payload_at(data, found.start()) is not None:
            return found.start(), 1
    return None


def _declared_end(data: bytes, position: int) -> int | None:
    if position + FRAME_HEAD.size > len(data):
        return None
    length, _ = FRAME_HEAD.unpack_from(data, position)
    end: int = position + FRAME_HEAD.size + length
    return end if 0 < length <= FRAME_LIMIT_BYTES and end <= len(data) else None


def _decode(payload: bytes) -> list[LogRecord] | None:
    try:
        return _records_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _made_writable(record: LogRecord) -> LogRecord:
    fields = {name: _writable(value) for name, value in msgspec.structs.asdict(record).items()}
    return msgspec.structs.replace(record, **fields)


def _writable(value: object) -> object:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value) if value.bit_length() < 10_000 else "an integer of thousands of digits"
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value
