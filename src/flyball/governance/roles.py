"""Who may do what: roles, the permissions they carry, and to whom they were given, for all models or for one."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType

import msgspec
from sqlalchemy import Column, Index, String, Table, delete, insert, select
from sqlalchemy.engine import Connection

from flyball.backends.db.metadata import UtcDateTime, metadata
from flyball.core.errors import UnknownRole
from flyball.core.ids import new_id
from flyball.core.values import Actor
from flyball.governance.journal import Change, record

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


class Grant(msgspec.Struct, frozen=True):
    """A role that somebody has, for one model or (None) for all."""

    id: str
    actor_id: str
    role: str
    model: str | None
    granted_at: datetime
    granted_by: str


def may(role: str, permission: str) -> bool:
    """Whether a role carries a permission. Unknown roles and unknown permissions carry nothing."""
    return permission in ROLES.get(role, frozenset())


def permitted(conn: Connection, actor_id: str, permission: str, model: str | None = None) -> bool:
    """Whether somebody may do something: to this model, or (None) to all of them."""
    given = list_grants(conn, actor_id)
    return any(may(found.role, permission) for found in given if found.model is None or found.model == model)


def list_grants(conn: Connection, actor_id: str | None = None) -> list[Grant]:
    """Every grant of an actor, or of all, oldest first."""
    query = select(role_grants).order_by(role_grants.c.id)
    if actor_id is not None:
        query = query.where(role_grants.c.actor_id == actor_id)
    return [Grant(**row._mapping) for row in conn.execute(query)]


def grant(
    conn: Connection,
    actor_id: str,
    role: str,
    *,
    model: str | None = None,
    by: Actor,
    why: str,
    now: datetime,
) -> Grant:
    """Give somebody a role, with its audit entry. Raises UnknownRole."""
    if role not in ROLES:
        raise UnknownRole(f"there is no role {role!r}; there are {', '.join(ROLES)}", role=role)
    given = Grant(new_id("rol"), actor_id, role, model, now, by.id)
    conn.execute(insert(role_grants).values(msgspec.structs.asdict(given)))
    _note(conn, "role.granted", given, by, why, now)
    return given


def revoke(conn: Connection, grant_id: str, *, by: Actor, why: str, now: datetime) -> bool:
    """Take a role back, with its audit entry; False if it was not there."""
    row = conn.execute(select(role_grants).where(role_grants.c.id == grant_id)).one_or_none()
    if row is None:
        return False
    conn.execute(delete(role_grants).where(role_grants.c.id == grant_id))
    _note(conn, "role.revoked", Grant(**row._mapping), by, why, now)
    return True


def _note(conn: Connection, action: str, given: Grant, by: Actor, why: str, now: datetime) -> None:
    facts = {"grant": given.id, "actor": given.actor_id, "role": given.role}
    if given.model is not None:
        facts["model"] = given.model
    change = Change(
        actor=by, action=action, subject=f"actor:{given.actor_id}", why=why, facts=facts, event=action
    )
    record(conn, change, now)
