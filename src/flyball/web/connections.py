"""Connections of the control plane's server: what is asked has to arrive, in time and in bounds.

uvicorn ends a connection that is idle between two requests, and neither one that never asks nor one that asks by
the drop; nor does it bound headers. A few hundred such connections would use up the process's files.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 64 * 1024
BODY_SECONDS = 30.0
LINGER_SECONDS = 10.0

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 36\r\nconnection: close\r\n\r\nThe headers are longer than 64 KiB.\n"
)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for headers and for bodies, and a bound on headers.

    Headers count from the connection's start or their own first byte. A body is timed by whoever reads it, who can
    answer; what is still coming `linger_seconds` after that, read or not, ends the connection.
    """

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    linger_seconds = LINGER_SECONDS

    _deadline: asyncio.TimerHandle | None = None
    _in_head: bool = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's own types
        self._wait(self.head_seconds)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        asked: Any = self.cycle  # None on a new connection, whatever uvicorn declares
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()
        elif self._deadline is None and asked is not None and asked.response_complete:
            # Empty lines between two requests begin none, and yet end uvicorn's own wait for the next one.
            self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._wait(self.head_seconds)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._wait(self.body_seconds + self.linger_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
