"""What a worker and a model process say to each other: length-prefixed MessagePack over a pair of sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from flyball.serving.faults import FaultKind

HEAD = struct.Struct(">I")
LONGEST_FRAME = 64 * 1024 * 1024
READY = 0  # the id of the first reply: the model is loaded, or why it is not


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a model process is told on its command line."""

    folder: str
    digest: str
    descriptor: int
    parent: int
    memory_mb: int
    network: bool = False
    hidden: list[str] = []


class Ask(msgspec.Struct, array_like=True):
    """Rows to answer. `id` counts from 1 within one process."""

    id: int
    rows: list[dict[str, Any]]


class Reply(msgspec.Struct, array_like=True):
    """The answer to one Ask, or `problem` and its kind. What it holds was made by foreign code: check it."""

    id: int
    predictions: list[Any] | None = None
    scores: list[list[float]] | None = None
    problem: str | None = None
    kind: FaultKind | None = None


encoder = msgspec.msgpack.Encoder()
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


def pack(message: Ask | Reply) -> bytes:
    """A message as one frame. Raises ValueError above 64 MiB."""
    payload = encoder.encode(message)
    if len(payload) > LONGEST_FRAME:
        raise ValueError(f"a message of {len(payload)} bytes; at most {LONGEST_FRAME}")
    return HEAD.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now. Raises ValueError when the other side announces more than 64 MiB."""
        self._data += data
        while len(self._data) >= HEAD.size:
            (length,) = HEAD.unpack_from(self._data)
            if length > LONGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes was announced; at most {LONGEST_FRAME}")
            end = HEAD.size + length
            if len(self._data) < end:
                return
            frame = bytes(self._data[HEAD.size : end])
            del self._data[:end]
            yield frame
