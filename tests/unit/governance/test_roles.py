"""What each role may do, and who is at the keyboard."""

from __future__ import annotations

import os

import pytest

from flyball.core.endpoints import ANYONE, ENDPOINTS
from flyball.core.values import Actor
from flyball.governance.actors import SYSTEM, local_actor
from flyball.governance.roles import PERMISSIONS, ROLES, may

MATRIX = {
    "viewer": {"read"},
    "caller": {"predict"},
    "contributor": {"read", "inputs.read", "comment", "run"},
    "validator": {"read", "inputs.read", "comment", "evidence.add", "audit.read"},
    "approver": {"read", "comment", "approve", "audit.read"},
    "operator": {"read", "predict", "comment", "deploy", "rollback", "incident.edit"},
    "admin": set(PERMISSIONS),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_is_for_and_nothing_else(role: str) -> None:
    assert {permission for permission in PERMISSIONS if may(role, permission)} == MATRIX[role]


def test_unknown_roles_and_permissions_may_nothing() -> None:
    assert not may("root", "read")
    assert not may("", "read")
    assert not may("viewer", "")
    assert not may("admin", "launch missiles")


def test_nobody_but_the_admin_can_both_make_and_approve() -> None:
    assert [role for role in ROLES if may(role, "run") and may(role, "approve")] == ["admin"]


def test_every_permission_that_an_endpoint_asks_for_exists() -> None:
    assert {endpoint.permission for endpoint in ENDPOINTS} <= {ANYONE, *PERMISSIONS}


def test_the_person_at_the_keyboard_is_known_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("LOGNAME", "somebody")
    found = local_actor()
    assert found.id == f"local:{os.getuid()}"
    assert found.kind == "person"
    assert found.name != "somebody"


def test_an_actor_without_an_id_is_told_by_kind_and_name() -> None:
    assert SYSTEM.id == "automation:flyball"
    assert Actor("ann", "person").id != Actor("ann", "service").id
