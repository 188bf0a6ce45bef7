"""`/api/schema`, `/api/v1/health`, `/api/v1/status` and the stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

import flyball as package
from flyball.app import ControlApp
from flyball.core.errors import BadInput, Unavailable
from flyball.governance.events import Event
from flyball.web.api.parameters import App, Limit
from flyball.web.paging import Page

MOST_STREAMS = 32
POLL_SECONDS = 0.25
QUIET_SECONDS = 15.0

After = Annotated[
    int | None,
    QueryParameter(
        ge=0, le=2**53, description="Only events of a higher number; a stream without it begins now."
    ),
]


class Health(msgspec.Struct, frozen=True):
    """Whether this process answers, and whether it turns the loop (else another one does, or will)."""

    status: str
    version: str
    leading: bool


def health(flyball: App) -> Health:
    """Whether the control plane answers."""
    return Health("ok", package.__version__, flyball.control.controller.is_leading)


def status(flyball: App) -> dict[str, Any]:
    """What runs, and where state lives."""
    return flyball.status()


def schema(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI 3.1 document of this API."""
    return Response(request.app.state.describe(), media_type="application/vnd.oai.openapi+json")


async def events(
    request: Request[Any, Any, Any],
    flyball: App,
    after: After = None,
    limit: Limit = 100,
    stream: FromQuery[bool] = True,
) -> Response[Any]:
    """Events as they happen (server-sent events); a page of them with `stream=false` or `Accept: application/json`.

    `id` is the event's number; a stream that broke off goes on after `Last-Event-ID`.
    """
    start = _start(request.headers.get("last-event-id"), after)
    if not stream or "application/json" in request.headers.get("accept", ""):
        found = await asyncio.to_thread(flyball.list_events, start or 0, limit)
        following = str(found[-1].number) if len(found) == limit else None
        return Response(Page(found, following))
    state = request.app.state
    if state.streams >= MOST_STREAMS:
        raise Unavailable(f"{MOST_STREAMS} streams of events are open already; close one, or ask for pages")
    if start is None:
        start = await asyncio.to_thread(_newest, flyball)
    return Stream(
        _frames(flyball, start, state, lambda: bool(state.stopping)),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _frames(
    flyball: ControlApp, after: int, state: Any, is_stopping: Callable[[], bool]
) -> AsyncIterator[bytes]:
    state.streams += 1
    quiet = 0.0
    try:
        yield b": events of Flyball\n\n"
        while not is_stopping():
            found = await asyncio.to_thread(flyball.list_events, after, 100)
            for event in found:
                after = event.number
                yield _frame(event)
            if found:
                quiet = 0.0
                continue
            await asyncio.sleep(POLL_SECONDS)
            quiet += POLL_SECONDS
            if quiet >= QUIET_SECONDS:
                quiet = 0.0
                yield b": still here\n\n"
    finally:
        state.streams -= 1


def _frame(event: Event) -> bytes:
    # JSON has no raw line breaks, and the kind is one of ours: nothing in a value can begin a line of its own.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.number,
        event.kind.encode(),
        msgspec.json.encode(event),
    )


def _start(last_event_id: str | None, after: int | None) -> int | None:
    if last_event_id is None:
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 15):
        raise BadInput("Last-Event-ID is not the number of an event")
    return int(last_event_id)


def _newest(flyball: ControlApp) -> int:
    newest = flyball.audit_log(None, 1)
    return newest[0].number if newest else 0
