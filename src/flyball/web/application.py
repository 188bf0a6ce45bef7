"""The control plane's web application: every endpoint of the table with its handler, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, SerializationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig

import flyball as package
from flyball.app import ControlApp
from flyball.core.endpoints import ENDPOINTS, Endpoint, bind
from flyball.core.errors import FlyballError
from flyball.web.api.handlers import API_HANDLERS
from flyball.web.auth.person import ENDPOINT, Caller, guard, local_person
from flyball.web.edge import LOOPBACK_NAMES, Edge
from flyball.web.pages.errors import error_page
from flyball.web.pages.handlers import PAGE_HANDLERS
from flyball.web.problems import MEDIA_TYPE, Problem, fault_in_words, problem_body, problem_of

_log = logging.getLogger(__name__)

Identify = Callable[[ASGIConnection[Any, Any, Any, Any]], Caller]


def build_application(
    flyball: ControlApp,
    *,
    hosts: Iterable[str] = LOOPBACK_NAMES,
    endpoints: Iterable[Endpoint] | None = None,
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    identify: Identify | None = None,
) -> tuple[Edge, State]:
    """The ASGI application and the state that its requests share (set `stopping` to end open streams).

    endpoints, handlers: the control plane's own, unless a test brings others. Raises Refused when an endpoint lacks
    its permission, body limit, audit event or handler.
    """
    bound = bind(
        "control",
        {**API_HANDLERS, **PAGE_HANDLERS} if handlers is None else handlers,
        ENDPOINTS if endpoints is None else endpoints,
    )
    routes = [_route(endpoint, handler) for endpoint, handler in bound]
    state = State({"streams": 0, "uploads": 0, "stopping": False})
    state.identify = identify or (lambda _connection: local_person())
    state.describe = _describer(bound)
    application = Litestar(
        route_handlers=routes,
        dependencies={"flyball": Provide(lambda: flyball, sync_to_thread=False)},
        exception_handlers={
            FlyballError: _flyball_error,
            HTTPException: _http_error,
            RecursionError: _too_deep,
            UnicodeDecodeError: _no_text,
            Exception: _surprise,
        },
        openapi_config=None,
        state=state,
        logging_config=None,
    )
    read_whole = [endpoint.body_limit_bytes for endpoint, _ in bound if endpoint.method != "PUT"]
    longest = max(read_whole, default=0)
    return Edge(application, hosts, longest), application.state


def _route(endpoint: Endpoint, handler: Callable[..., Any]) -> HTTPRouteHandler:
    is_page = not endpoint.path.startswith("/api/")
    # A coroutine function runs on the loop, all others in threads.
    asynchronous = handler.__code__.co_flags & 0x80
    return HTTPRouteHandler(
        _litestar_path(endpoint.path),
        http_method=endpoint.method,
        name=endpoint.name,
        operation_id=endpoint.name.removeprefix("control."),
        status_code=200,
        guards=[guard],
        opt={ENDPOINT: endpoint},
        request_max_body_size=endpoint.body_limit_bytes or 1,
        include_in_schema=not is_page,
        tags=[endpoint.path.split("/")[3]] if endpoint.path.startswith("/api/v1/") else None,
        sync_to_thread=None if asynchronous else True,
        cache_control=None,
    )(handler)


def _litestar_path(path: str) -> str:
    return path.replace("}", ":str}")


def _describer(bound: list[tuple[Endpoint, Callable[..., Any]]]) -> Callable[[], bytes]:
    """Makes the OpenAPI document when it is first asked for; routes of its own would not be in the table."""
    made: list[bytes] = []

    def describe() -> bytes:
        if not made:
            config = OpenAPIConfig(
                title="Flyball",
                version=package.__version__,
                description="The control plane. Changes take `Idempotency-Key`; errors are RFC 9457 documents.",
            )
            described = Litestar(
                route_handlers=[_route(endpoint, handler) for endpoint, handler in bound],
                dependencies={"flyball": Provide(lambda: None, sync_to_thread=False)},
                openapi_config=config,
                logging_config=None,
            )
            made.append(msgspec.json.encode(described.openapi_schema.to_schema()))
        return made[0]

    return describe


def _answer(request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
    headers = {"Retry-After": "1"} if problem.status in (429, 503) else {}
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith("/api/"):
        again = request.url.path if request.method == "GET" and problem.status == 503 else ""
        page = error_page(problem, request.scope.get("state", {}).get("request_id", ""), again)
        return Response(
            page, status_code=problem.status, media_type="text/html; charset=utf-8", headers=headers
        )
    body = problem_body(problem, request.url.path)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _flyball_error(request: Request[Any, Any, Any], error: FlyballError) -> Response[Any]:
    problem = problem_of(error)
    if problem.status >= 500:
        _log.error("%s %s: %s (%s)", request.method, request.url.path, error.message, error.code)
    return _answer(request, problem)


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code >= 500:
        return _surprise(request, error)
    code = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    detail = _detail(error)
    return _answer(request, Problem(error.status_code, code.get(error.status_code, "bad_request"), detail))


def _detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return "there is nothing at this address"
    if isinstance(error.__cause__, SerializationException):
        return f"the body is not JSON: {error.detail[:1].lower()}{error.detail[1:500]}"
    faults = [
        fault_in_words(str(fault.get("key", "")), str(fault.get("message", "")))
        for fault in (error.extra or [])
        if isinstance(fault, dict)
    ]
    return "; ".join(faults)[:500] or error.detail[:500] or "the request can't be read"


def _too_deep(request: Request[Any, Any, Any], _error: RecursionError) -> Response[Any]:
    return _answer(request, Problem(400, "bad_request", "the body is nested too deeply"))


def _no_text(request: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[Any]:
    if request.method == "GET":
        return _surprise(request, error)  # without a body there is nothing of the caller's to decode
    return _answer(request, Problem(400, "bad_request", "the body is not UTF-8"))


def _surprise(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    # The edge: what nobody foresaw is logged under the request's id, and nothing of it is shown.
    request_id = request.scope.get("state", {}).get("request_id", "")
    _log.error("%s %s broke, request %s", request.method, request.url.path, request_id, exc_info=error)
    detail = f"something broke; the control plane's log tells it under request {request_id}"
    return _answer(request, Problem(500, "internal", detail))
