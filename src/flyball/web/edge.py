"""The outermost layer of the control plane's server: what a request must be before any handler sees it.

A browser is a deputy that foreign pages can confuse: they can make it send requests here, and they can point a name
of their own at this address. So only known host names are answered, and whatever changes something has to come from
a page of this very server, or from a program (which says so by the same header, or by a bearer token).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from flyball.core.endpoints import MEBIBYTE
from flyball.core.hosts import find_host_name
from flyball.core.ids import new_id
from flyball.web.problems import Problem, problem_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
METHODS = ("GET", "HEAD", "POST", "PUT")
BODY_SECONDS = 30.0
LONGEST_TARGET = 4096
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}\Z")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Not "no-referrer": under it browsers send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


_log = logging.getLogger(__name__)


class Edge:
    """ASGI middleware around the whole application.

    body_limit_bytes: the longest body of any endpoint; an endpoint's own limit may be lower. body_seconds: within
    which a body has to arrive. Of a PUT the handler reads the body, and holds it to its own bounds.
    """

    def __init__(
        self,
        app: App,
        hosts: Iterable[str],
        body_limit_bytes: int = MEBIBYTE,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._body_limit_bytes = body_limit_bytes
        self._body_seconds = body_seconds
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = read_headers(scope)
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.match(request_id):
            request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _with_headers(send, request_id)
        problem = self._refuse(scope, headers)
        if problem is None and scope["method"] == "POST":
            body = await self._read_body(receive, headers.get("content-length", "0"))
            if body is None:
                _log.info("%s %s: the client left before it had asked", scope["method"], scope["path"])
                return
            if isinstance(body, Problem):
                problem = body
            else:
                receive = _with_body(body, receive)
        if problem is not None:
            await _send_problem(answer, problem)
            return
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self._app(inner, receive, answer)

    async def _read_body(self, receive: Receive, announced: str) -> bytes | Problem | None:
        """The whole body; what is wrong with it, or None when the client left while it sent.

        Read here and not by a handler, so that nothing has begun while a request is not there yet.
        """
        limit_bytes = self._body_limit_bytes
        too_large = Problem(413, "too_large", f"the body is longer than {limit_bytes / MEBIBYTE:g} MiB")
        if announced.isdecimal() and int(announced) > limit_bytes:
            return too_large
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit_bytes:
                        return too_large
        except TimeoutError:
            return Problem(408, "too_slow", f"the body did not arrive within {self._body_seconds:g} s")
        return bytes(body)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> Problem | None:
        method = scope["method"]
        if method not in METHODS:
            return Problem(
                405, "method_not_allowed", f"{method} is not answered; one of {', '.join(METHODS)}"
            )
        if len(scope["path"]) + len(scope.get("query_string", b"")) > LONGEST_TARGET:
            return Problem(414, "target_too_long", f"the address is longer than {LONGEST_TARGET} bytes")
        host = headers.get("host", "")
        if find_host_name(host) not in self._hosts:
            return Problem(
                421,
                "unknown_host",
                "this server does not go by that host name; use the address it printed at its start, or name the "
                "host in FLYBALL_CONTROL_HOSTS",
            )
        if "authorization" in headers:
            return Problem(
                401,
                "no_tokens",
                "this server knows no tokens: it listens on this machine only and takes whoever reaches it for its "
                "administrator. Leave FLYBALL_TOKEN unset",
            )
        if method in ("POST", "PUT") and not _is_same_origin(headers.get("origin"), host):
            return Problem(
                403,
                "foreign_origin",
                "a change has to come from a page of this server; a program sends the header "
                "`Origin: http://<host>:<port>` with the address it calls",
            )
        return None


def read_headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name. A name sent twice is joined by a comma, so two hosts are no known host."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _is_same_origin(origin: str | None, host: str) -> bool:
    if not origin or not host:
        return False
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and authority.lower() == host.lower()


def _with_headers(send: Send, request_id: str) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            added = [
                *SECURITY_HEADERS,
                (b"x-request-id", request_id.encode()),
                (b"cache-control", b"no-store"),
            ]
            message = {**message, "headers": own + [header for header in added if header[0] not in names]}
        await send(message)

    return answer


def _with_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, and then what else the server tells."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _send_problem(send: Send, problem: Problem) -> None:
    body = msgspec.json.encode(problem_body(problem))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if problem.status != 413:  # whoever still sends would meet a closed door and never read why
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
