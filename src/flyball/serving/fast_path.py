"""The hot route without ASGI: a small, ordinary `predict` request is answered from inside uvicorn's protocol.

uvicorn parses, keeps connections alive, paces and shuts down as ever. A request that is anything but ordinary (another
path, method or HTTP version, a query, an upgrade, `Expect`, a header sent twice, a body without length or above 64 KiB,
one that waits behind another on its connection) takes the way through ASGI, and so does every request when the
installed uvicorn is not one of those this was tested with. Both ways end in the same handler.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from flyball.backends.connections import BoundedConnection
from flyball.serving.asgi import Application, Request, Response, refuse
from flyball.serving.predict import Predictions
from flyball.serving.protocol import Rejected

TESTED_UVICORN = ((0, 54),)
LONGEST_BODY = 64 * 1024
NAME = "model.predict"

log = logging.getLogger("flyball.worker")


def is_tested() -> bool:
    """Whether the installed uvicorn is one whose inside is known."""
    numbers = uvicorn.__version__.split(".")[:2]
    return all(part.isdigit() for part in numbers) and tuple(map(int, numbers)) in TESTED_UVICORN


def protocol_class(application: Application, predictions: Predictions) -> type[BoundedConnection]:
    """The protocol for uvicorn's `http` setting that answers predictions itself."""

    class Protocol(FastProtocol):
        app_ = application
        predictions_ = predictions

    return Protocol


class _Exchange:
    """What uvicorn takes for the request in progress: as long as it is not complete, the next one waits its turn."""

    __slots__ = (
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
    )

    def __init__(self, headers: dict[bytes, bytes], keep_alive: bool) -> None:
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS


class _NobodyWaits:
    def set(self) -> None:
        """uvicorn wakes an ASGI task here; there is none."""


_NOBODY_WAITS = _NobodyWaits()


async def _no_body() -> dict[str, Any]:
    return {"type": "http.disconnect"}


class FastProtocol(BoundedConnection):
    """uvicorn's protocol, in bounds, with a short way for one route."""

    app_: Application
    predictions_: Predictions

    def begin_request(self) -> None:
        headers = self._ordinary()
        if headers is None:
            super().begin_request()
        else:
            self.cycle = _Exchange(headers, self.parser.should_keep_alive())  # type: ignore[assignment]  # uvicorn's own types

    def complete_request(self) -> None:
        exchange: Any = self.cycle
        if type(exchange) is not _Exchange:
            super().complete_request()
        elif exchange.more_body and not exchange.response_complete:
            exchange.more_body = False
            self._answer(exchange)

    def seconds_for_body(self) -> float | None:
        exchange: Any = self.cycle
        return self.head_seconds if type(exchange) is _Exchange else None

    def _ordinary(self) -> dict[bytes, bytes] | None:
        """The headers of a request for the short way, else None."""
        url = self.url
        if not url.endswith(b"/predict") or not url.startswith(b"/v1/models/") or b"%" in url or b"?" in url:
            return None
        parser = self.parser
        under_way: Any = self.cycle  # None on a new connection, whatever uvicorn declares
        if (
            parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.expect_100_continue
            or (under_way is not None and not under_way.response_complete)
        ):
            return None
        headers = dict(self.headers)
        if len(headers) != len(self.headers):
            return None
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > LONGEST_BODY:
            return None
        return headers

    def _answer(self, exchange: _Exchange) -> None:
        application, headers = self.app_, exchange.headers
        reply = partial(self._reply, exchange)
        try:
            endpoint, _, parameters = application.routes.find("POST", self.url.decode("ascii"))
            application.gate.check("POST", headers)
            request = Request(headers, parameters, endpoint, _no_body)
            self.predictions_.handle_now(request, bytes(exchange.body), reply)
        except Rejected as refusal:
            reply(refuse(refusal))
        except Exception:  # noqa: BLE001 - the edge: logged, never shown
            reply(application.failed())

    def give_up(self) -> None:
        """End the connection; whoever sends a small body by the drop is told why."""
        exchange: Any = self.cycle
        if type(exchange) is _Exchange and exchange.more_body and not exchange.response_complete:
            words = f"the request did not arrive within {self.head_seconds:g} s"
            self._reply(exchange, refuse(Rejected(408, "too_slow", words, close=True)))
        else:
            super().give_up()

    def _reply(self, exchange: _Exchange, response: Response) -> None:
        if exchange.disconnected or self.transport.is_closing():
            return
        headers = self.app_.dress(NAME, exchange.headers, response)
        says_close = any(name == b"connection" for name, _ in headers)
        if says_close:
            exchange.keep_alive = False
        elif not exchange.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [STATUS_LINE[response.status]]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", response.body)
        self.transport.write(b"".join(lines))
        exchange.response_complete = True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()
