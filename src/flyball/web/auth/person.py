"""Who calls and what they may: in this release the person at this machine, who is its administrator."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from flyball.core.endpoints import ANYONE, Endpoint
from flyball.core.errors import Refused
from flyball.governance.actors import local_actor
from flyball.governance.roles import may

ENDPOINT = "endpoint"
"""Under this name a route carries its line of the table of endpoints."""


class Caller(msgspec.Struct, frozen=True):
    """Who sent a request: the name that the audit trail keeps, and the role that says what is permitted."""

    name: str
    role: str


def local_person() -> Caller:
    """The person whose machine this is. The edge lets nobody else in: other hosts, foreign pages, tokens."""
    return Caller(local_actor().name, "admin")


def check_permission(endpoint: Endpoint, caller: Caller) -> None:
    """Raise Refused unless the caller's role has the permission that the endpoint declares."""
    if endpoint.permission == ANYONE or may(caller.role, endpoint.permission):
        return
    raise Refused(
        f"{caller.name} may not do this: it needs the permission {endpoint.permission!r}, which the role "
        f"{caller.role!r} lacks",
        permission=endpoint.permission,
        role=caller.role,
    )


def guard(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Litestar's guard of every route: the permission of its endpoint, for the caller of this request."""
    check_permission(route.opt[ENDPOINT], connection.app.state.identify(connection))
