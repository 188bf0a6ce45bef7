"""The audit trail held against the whole home: the chain itself, and what else shows that entries were written."""

from __future__ import annotations

from sqlalchemy import ColumnElement, String, cast, literal

from flyball.governance.verify import Verification, parse_head, verify
from flyball.governance.witnesses import Witness
from flyball.operations.opening import Backends


def verify_trail(backends: Backends, head: str | None = None) -> Verification:
    """Whether every entry is in its place and unchanged, and none is missing that another table speaks of.

    head: one noted earlier and kept elsewhere; without it, entries at the end whose every trace in the database was
    deleted with them are not noticed. Raises BadInput for what is no head.
    """
    anchor = parse_head(head) if head else None
    with backends.database.read() as conn:
        return verify(conn, anchor, list_witnesses())


def list_witnesses() -> list[Witness]:
    """Every table whose rows are only ever written with an entry of their own, and never deleted without one."""
    from flyball.data.catalogue import snapshots
    from flyball.governance.approvals import approvals
    from flyball.governance.roles import role_grants
    from flyball.monitoring.incidents import incidents
    from flyball.pipelines.runs import runs
    from flyball.registry.aliases import alias_history
    from flyball.registry.evidence import evidence
    from flyball.registry.models import models
    from flyball.registry.routes import deployments
    from flyball.registry.versions import versions
    from flyball.retraining.retrainings import retrainings

    names = {
        models: (_text("model:", models.c.name), ("model.created",)),
        versions: (_version(versions.c.model, versions.c.number), ("version.registered", "version.refused")),
        evidence: (_version(evidence.c.model, evidence.c.number), ("evidence.added",)),
        alias_history: (
            _text("alias:", alias_history.c.model, "@", alias_history.c.name),
            ("alias.moved",),
        ),
        deployments: (_text("deployment:", deployments.c.model), ("deployment.changed",)),
        snapshots: (_text("snapshot:", snapshots.c.digest), ("snapshot.created",)),
        approvals: (
            _text("", approvals.c.subject),
            ("approval.given", "approval.refused", "approval.withdrawn"),
        ),
        role_grants: (_text("actor:", role_grants.c.actor_id), ("role.granted",)),
        runs: (_text("run:", runs.c.id), ("run.started",)),
        incidents: (_text("incident:", incidents.c.id), ("incident.opened",)),
        retrainings: (_text("retraining:", retrainings.c.id), ("retraining.decided",)),
    }
    return [Witness(table=table, subject=name, actions=actions) for table, (name, actions) in names.items()]


def _version(model: ColumnElement[str], number: ColumnElement[int]) -> ColumnElement[str]:
    return _text("version:", model, "@", cast(number, String))


def _text(kind: str, *parts: ColumnElement[str] | str) -> ColumnElement[str]:
    text: ColumnElement[str] = literal(kind, String)
    for part in parts:
        text = text + part
    return text
