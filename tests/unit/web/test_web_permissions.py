"""Who may do what over HTTP: exactly what the table of endpoints declares, for each role."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flyball.core.endpoints import ANYONE, Endpoint, list_endpoints
from flyball.core.errors import Refused
from flyball.governance.roles import PERMISSIONS, ROLES
from flyball.web.api.handlers import API_HANDLERS
from flyball.web.application import build_application
from flyball.web.auth.person import Caller, check_permission, local_person
from flyball.web.pages.handlers import PAGE_HANDLERS

CONTROL = list_endpoints("control")
HANDLERS = {**API_HANDLERS, **PAGE_HANDLERS}


def is_let_in(endpoint: Endpoint, role: str) -> bool:
    try:
        check_permission(endpoint, Caller("ann", role))
    except Refused:
        return False
    return True


@pytest.mark.parametrize("endpoint", CONTROL, ids=lambda endpoint: endpoint.name)
def test_each_role_may_what_the_table_declares_and_nothing_else(endpoint: Endpoint):
    for role, permissions in ROLES.items():
        declared = endpoint.permission == ANYONE or endpoint.permission in permissions
        assert is_let_in(endpoint, role) == declared
    assert not is_let_in(endpoint, "no such role") or endpoint.permission == ANYONE


def test_every_declared_permission_is_one_that_governance_knows():
    assert {e.permission for e in CONTROL} - {ANYONE} <= set(PERMISSIONS)


def test_the_person_at_this_machine_may_do_everything():
    assert all(is_let_in(endpoint, local_person().role) for endpoint in CONTROL)


def test_a_page_needs_the_permission_of_the_resource_behind_it():
    by_name = {endpoint.name: endpoint.permission for endpoint in CONTROL}
    for page, resource in [
        ("page.model", "model"),
        ("page.prediction", "prediction"),
        ("page.audit", "audit"),
        ("page.note", "note"),
        ("page.deploy", "deploy"),
        ("page.rollback", "rollback"),
    ]:
        assert by_name[f"control.{page}"] == by_name[f"control.{resource}"]


def build(endpoints: list[Endpoint], handlers: dict[str, Any] = HANDLERS) -> Any:
    # No request is answered here, so no home is opened.
    return build_application(None, endpoints=endpoints, handlers=handlers)


def test_every_route_of_the_server_is_a_line_of_the_table():
    _, state = build(CONTROL)
    edge, _ = build(CONTROL)
    routes = {
        (method, route.path_format)
        for route in edge._app.routes
        for method in route.methods - {"OPTIONS"}  # added to each route by the framework; the edge refuses it
    }
    assert routes == {(e.method, e.path) for e in CONTROL}
    assert state.streams == 0


@pytest.mark.parametrize("field", ["permission", "audit"])
def test_an_endpoint_that_lacks_a_declaration_keeps_the_control_plane_from_starting(field: str):
    broken = [
        msgspec.structs.replace(e, **{field: "" if field == "permission" else None})
        if e.name == "control.deploy"
        else e
        for e in CONTROL
    ]
    with pytest.raises(Refused, match=r"control\.deploy: no (permission|audit event) declared"):
        build(broken)


def test_a_handler_without_an_endpoint_keeps_the_control_plane_from_starting():
    with pytest.raises(Refused, match=r"control\.back_door: a handler, but no endpoint"):
        build(CONTROL, {**HANDLERS, "control.back_door": HANDLERS["control.models"]})
