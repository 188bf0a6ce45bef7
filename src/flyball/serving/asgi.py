"""The HTTP edge of the data plane: paths to handlers, bodies with limits and deadlines, refusals as answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flyball.core.endpoints import Endpoint, bind
from flyball.core.hosts import find_host_name
from flyball.core.ids import new_id
from flyball.serving.metrics import Value, WorkerMetrics
from flyball.serving.protocol import Rejected, encode

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = (b"content-type", b"application/json")
BODY_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 1024
LINGER_SECONDS = 5.0
LINGER_BYTES = 256 * 1024 * 1024
KNOWN_PATHS = 4096
_REQUEST_ID = re.compile(rb"^[\x21-\x7e]{1,128}$")

log = logging.getLogger("flyball.worker")


class Request:
    """One request: its headers (lower-case names, the last of each), what its path names, and its body.

    is_read: whether all of its body has been read.
    """

    __slots__ = ("_endpoint", "_receive", "headers", "is_read", "parameters")

    def __init__(
        self,
        headers: dict[bytes, bytes],
        parameters: Mapping[str, str],
        endpoint: Endpoint,
        receive: Receive,
    ) -> None:
        self.headers = headers
        self.parameters = parameters
        self._endpoint = endpoint
        self._receive = receive
        self.is_read = False

    @property
    def request_id(self) -> str | None:
        """The caller's X-Request-Id, when it is plain text of at most 128 characters."""
        given = self.headers.get(b"x-request-id")
        return given.decode("ascii") if given is not None and _REQUEST_ID.match(given) else None

    async def body(self, limit_bytes: int | None = None) -> bytes:
        """The JSON body. Raises Rejected: 413 above the limit, 415 for another type, 408 for a trickle."""
        limit = self._endpoint.body_limit_bytes if limit_bytes is None else limit_bytes
        self.check_type()
        announced = self.announced_bytes
        if announced > limit:
            raise too_large(limit)
        return await self._read(limit, announced)

    def check_type(self) -> None:
        """Raises Rejected (415) for anything but plain JSON."""
        given = self.headers.get(b"content-type", b"application/json")
        if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
            raise Rejected(415, "unsupported_type", "send JSON, with Content-Type: application/json")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Rejected(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")

    @property
    def announced_bytes(self) -> int:
        """Content-Length; 0 without one. Raises Rejected (400) for what is no number."""
        try:
            return int(self.headers.get(b"content-length", b"0"))
        except ValueError as error:
            raise Rejected(400, "bad_length", "Content-Length is no number", close=True) from error

    async def _read(self, limit: int, announced: int) -> bytes:
        parts, size = [], 0
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_seconds_for(announced)) as deadline:
                while not self.is_read:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        words = "the connection ended before the request did"
                        raise Rejected(400, "disconnected", words, close=True)
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self.is_read = not message.get("more_body", False)
                    if size > limit:
                        raise too_large(limit)
                    if size > announced:
                        deadline.reschedule(begun + _seconds_for(size))
        except TimeoutError as error:
            words = f"the body did not arrive within {_seconds_for(max(announced, size)):.0f} s"
            raise Rejected(408, "too_slow", words, close=True) from error
        return b"".join(parts)


class Response:
    """An answer: status, body, and headers beside its type and length."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: list[Header] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers if headers is not None else [JSON]


Handler = Callable[[Request], Awaitable[Response]]


class Routes:
    """Finds the endpoint of a path. Each `{name}` stands for one segment, taken as it came, never as a path."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._bound = [
            (endpoint, handler, _pattern(endpoint.path)) for endpoint, handler in bind("model", handlers)
        ]
        self._known: dict[tuple[str, str], tuple[Endpoint, Handler, dict[str, str]]] = {}

    def find(self, method: str, path: str) -> tuple[Endpoint, Handler, dict[str, str]]:
        """Endpoint, handler and parameters. Raises Rejected: 404, or 405 with what is allowed."""
        known = self._known.get((method, path))
        if known is not None:
            return known
        allowed = []
        for endpoint, handler, pattern in self._bound:
            match = pattern.match(path)
            if match is None:
                continue
            if endpoint.method == method or (endpoint.method == "GET" and method == "HEAD"):
                found = (endpoint, handler, match.groupdict())
                if len(self._known) < KNOWN_PATHS:
                    self._known[(method, path)] = found
                return found
            allowed.append(endpoint.method)
        if allowed:
            raise Rejected(405, "method_not_allowed", f"this path takes {', '.join(allowed)}")
        raise Rejected(404, "not_found", "nothing lives at this path; see the reference of the model server")


class Gate:
    """Which Host and Origin are answered: a page of another site must not reach a local server through a browser."""

    def __init__(self, host_names: frozenset[str] | None) -> None:
        self._names = host_names
        self._known: dict[bytes, bool] = {}

    def check(self, method: str, headers: dict[bytes, bytes]) -> None:
        """Raises Rejected (403) for no name, a foreign one or several, or a request from a foreign page."""
        host = headers.get(b"host")
        if not self._is_ours(host):
            raise Rejected(
                403, "foreign_host", "this server does not answer under that name (FLYBALL_SERVE_HOSTS)"
            )
        origin = headers.get(b"origin")
        if origin is not None and method not in ("GET", "HEAD"):
            try:
                same = urlsplit(origin.decode("latin-1")).netloc.encode("latin-1") == host
            except ValueError:
                same = False
            if not same:
                raise Rejected(403, "foreign_origin", "this request comes from a page of another site")

    def _is_ours(self, host: bytes | None) -> bool:
        if host is None:
            return self._names is None  # what can be asked by any name can be asked without one
        known = self._known.get(host)
        if known is None:
            name = find_host_name(host.decode("latin-1"))
            known = name is not None and (self._names is None or name in self._names)
            if len(self._known) < KNOWN_PATHS:
                self._known[host] = known
        return known


class Application:
    """The ASGI application. While `draining`, each answer asks its connection to close."""

    def __init__(self, handlers: Mapping[str, Handler], gate: Gate, metrics: WorkerMetrics) -> None:
        self.draining = False
        self.routes = Routes(handlers)
        self.gate = gate
        self._metrics = metrics
        self._counts: dict[tuple[str, int], Value] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # neither lifespan nor web sockets are spoken here
        method: str = scope["method"]
        headers = _by_name(scope["headers"])
        name, lingers = "none", False
        request: Request | None = None
        try:
            endpoint, handler, parameters = self.routes.find(method, scope["path"])
            name = endpoint.name
            self.gate.check(method, headers)
            request = Request(headers, parameters, endpoint, receive)
            response = await handler(request)
        except Rejected as refusal:
            response = refuse(refusal)
            lingers = refusal.status == 413 and request is not None and not request.is_read
        except Exception:  # noqa: BLE001 - the edge: logged under a number, never shown
            response = self.failed()
        sent = self.dress(name, headers, response)
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        body = response.body if method != "HEAD" else b""
        if lingers:
            # A client that is still sending would meet a closed door and never read why.
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _discard(receive)
            body = b""
        await send({"type": "http.response.body", "body": body})

    def dress(self, name: str, headers: dict[bytes, bytes], response: Response) -> list[Header]:
        """Count an answer to a request with these headers; all the headers it is sent with."""
        value = self._counts.get((name, response.status))
        if value is None:
            value = self._metrics.value("flyball_requests_total", endpoint=name, status=str(response.status))
            self._counts[(name, response.status)] = value
        value.add()
        sent = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.match(given):
            sent.append((b"x-request-id", given))
        if self.draining:
            sent.append((b"connection", b"close"))
        return sent

    def failed(self) -> Response:
        """The answer to a request that met a defect, which is logged under a number."""
        number = new_id("err")
        log.exception("a request failed (%s)", number)
        return Response(
            500, encode({"code": "internal", "message": f"this should not happen; see {number} in the log"})
        )


def refuse(refusal: Rejected) -> Response:
    """A refusal as an answer."""
    headers = [JSON]
    if refusal.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_seconds))
    if refusal.close:
        headers.append((b"connection", b"close"))
    return Response(refusal.status, refusal.body(), headers)


def _by_name(given: list[Header]) -> dict[bytes, bytes]:
    """The last of each header, but several hosts as one that is none: nobody may choose which of them is checked."""
    headers = dict(given)
    if len(headers) != len(given):
        hosts = [value for name, value in given if name == b"host"]
        if len(hosts) > 1:
            headers[b"host"] = b",".join(hosts)
    return headers


def _seconds_for(size_bytes: int) -> float:
    return BODY_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


async def _discard(receive: Receive) -> None:
    """Let the rest of a refused body pass by unread, for a few seconds and up to a limit."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while size < LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def too_large(limit_bytes: int) -> Rejected:
    """The refusal of a body above the limit; the rest of it is not read."""
    words = f"the body is longer than {limit_bytes / 2**20:g} MiB; send fewer rows at a time"
    return Rejected(413, "too_large", words, close=True)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([a-z_]+)\}", path)
    pieces = [f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    return re.compile("^" + "".join(pieces) + "$")
