"""HTTP connections of both servers: what is asked has to arrive, in time and in bounds.

uvicorn ends a connection that is idle between two requests, and neither one that never asks nor one that asks by
the drop; nor does it bound headers. A few hundred such connections would use up the process's files.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 64 * 1024
MOST_HEADERS = 100
LINGER_SECONDS = 10.0

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 58\r\nconnection: close\r\n\r\nThe headers are longer than 64 KiB, or are more than 100.\n"
)


class _Awaited(Enum):
    HEAD = "headers"
    BODY = "a body"
    NOTHING = "nothing"


class _TooLong(Exception):
    """Headers, or trailers behind a body, above their bounds: ends the parsing."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for headers and for what is left of bodies, and a bound on headers.

    Headers count from the connection's start or their own first byte. A body is timed by whoever reads it, who can
    answer; what is still coming `linger_seconds` after the answer, and is read by nobody, ends the connection.
    Clocks are looked after once for each piece that arrives: a request in one piece starts none. Trailers, behind a
    body in chunks, are bounded like headers, and reach nobody.
    """

    head_seconds = HEAD_SECONDS
    linger_seconds = LINGER_SECONDS

    _deadline: asyncio.TimerHandle | None = None
    _awaited = _Awaited.HEAD
    _changes = 0  # of what is awaited: a deadline holds for one of them, however many pieces it comes in
    _head_bytes = 0  # of the headers under way, without the piece that is looked at
    _piece_bytes = 0
    _chunk: object | None = (
        None  # of which only the size has come; behind the size of the last, trailers come
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's own types
        self.wait(self.head_seconds)

    def data_received(self, data: bytes) -> None:
        before, chunk = self._changes, self._chunk
        was_in_head = self._awaited is _Awaited.HEAD
        self._piece_bytes = len(data)
        super().data_received(data)
        if self._changes != before:
            self._restart()
        if self._awaited is _Awaited.HEAD:
            self._bound_lines(len(data) if was_in_head else 0)
        elif self._chunk is not None and self._chunk is chunk:
            self._bound_lines(len(data))
        elif self._awaited is _Awaited.NOTHING and self._deadline is None and self._is_forgotten():
            self.wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._await(_Awaited.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # Counted only here: a piece is 256 KiB at most, so what is parsed before is little.
        could_be_too_long = self._head_bytes + self._piece_bytes > HEAD_BYTES
        if len(self.headers) > MOST_HEADERS or (could_be_too_long and self._weigh_head() > HEAD_BYTES):
            self._refuse_lines()
            raise _TooLong
        self._await(_Awaited.BODY)
        self.begin_request()
        # uvicorn takes trailers for more headers, and the application would read a Host that nobody has checked.
        self.headers = []
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._chunk = None
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """Note that the size of a chunk has come: of one with content, or of the last, before its trailers."""
        self._chunk = object()

    def on_chunk_complete(self) -> None:
        """Note that a chunk has come whole. Raises _TooLong for too many trailers behind the last."""
        self._chunk = None
        if len(self.headers) > MOST_HEADERS:
            self._refuse_lines()
            raise _TooLong

    def on_message_complete(self) -> None:
        self._await(_Awaited.NOTHING)
        self.complete_request()

    def on_response_complete(self) -> None:
        if self._awaited is _Awaited.BODY and self.cycle.response_complete:
            self.wait(self.linger_seconds)
        super().on_response_complete()

    def begin_request(self) -> None:
        """Have the request answered whose headers have come."""
        super().on_headers_complete()

    def complete_request(self) -> None:
        """Tell whoever answers it that the request's body has come, too."""
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, unless it was refused for its headers before."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def seconds_for_body(self) -> float | None:
        """Within which the body whose headers have come has to be here; None where its reader has a clock."""
        return None

    def give_up(self) -> None:
        """End the connection, because what is awaited did not come in time."""
        if not self.transport.is_closing():
            self.transport.close()

    def wait(self, seconds: float) -> None:
        """Give up after so long, instead of any moment set before."""
        self.stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._time_is_up)

    def stop_waiting(self) -> None:
        """Give up at no moment that was set before."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_is_up(self) -> None:
        self._deadline = None
        self.give_up()

    def _await(self, what: _Awaited) -> None:
        self._awaited = what
        self._changes += 1

    def _restart(self) -> None:
        self.stop_waiting()
        if self._awaited is _Awaited.HEAD:
            self.wait(self.head_seconds)
        elif self._awaited is _Awaited.BODY:
            seconds = self.linger_seconds if self.cycle.response_complete else self.seconds_for_body()
            if seconds is not None:
                self.wait(seconds)

    def _bound_lines(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > HEAD_BYTES:
            self._refuse_lines()

    def _weigh_head(self) -> int:
        """The bytes of the headers alone, as far as they are known: the piece may hold much of a body, too."""
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _refuse_lines(self) -> None:
        """End the connection; behind a body, in trailers, without a word: an answer may be under way."""
        if not self.transport.is_closing():
            if self._awaited is _Awaited.HEAD:
                self.transport.write(_TOO_LONG)
            self.transport.close()

    def _is_forgotten(self) -> bool:
        """Whether nobody is at work and nobody waits for the next request.

        Empty lines between two requests begin none, and yet end uvicorn's own wait for the next one; so does the end
        of a body that was answered before.
        """
        asked: Any = self.cycle  # None on a new connection, whatever uvicorn declares
        return asked is not None and asked.response_complete and self.timeout_keep_alive_task is None
