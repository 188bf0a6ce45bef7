"""Who may do what: roles and the permissions they carry. Nothing gives anybody a role while there is no login."""

from __future__ import annotations

from types import MappingProxyType

from sqlalchemy import Column, Index, String, Table

from flyball.backends.db.metadata import UtcDateTime, metadata

PERMISSIONS = MappingProxyType(
    {
        "read": "see models, versions, runs, rollouts, signals, incidents",
        "predict": "ask for predictions and send outcomes",
        "inputs.read": "see what was asked and answered, row by row",
        "comment": "write notes",
        "run": "start runs and register versions",
        "evidence.add": "add checks and findings to a version",
        "approve": "approve and reject versions",
        "deploy": "start, pause, resume, promote and abort rollouts; retrain",
        "rollback": "go back to an earlier champion",
        "incident.edit": "note, hold and resolve incidents",
        "policy.edit": "change policies and budgets",
        "audit.read": "read, verify and export the audit trail",
        "users.edit": "manage users, roles and tokens",
        "system.edit": "back up, restore, migrate, collect garbage, erase",
    }
)

_VIEWER = frozenset({"read"})
ROLES = MappingProxyType(
    {
        "viewer": _VIEWER,
        "caller": frozenset({"predict"}),
        "contributor": _VIEWER | {"inputs.read", "comment", "run"},
        "validator": _VIEWER | {"inputs.read", "comment", "evidence.add", "audit.read"},
        "approver": _VIEWER | {"comment", "approve", "audit.read"},
        "operator": _VIEWER | {"predict", "comment", "deploy", "rollback", "incident.edit"},
        "admin": frozenset(PERMISSIONS),
    }
)

role_grants = Table(
    "role_grants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("actor_id", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("model", String(64)),  # none: all models
    Column("granted_at", UtcDateTime, nullable=False),
    Column("granted_by", String(255), nullable=False),
    Index("ix_role_grants_actor_id", "actor_id"),
)


def may(role: str, permission: str) -> bool:
    """Whether a role carries a permission. Unknown roles and unknown permissions carry nothing."""
    return permission in ROLES.get(role, frozenset())
