"""Deployments: the wanted state of serving, one row a revision; published as route tables afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from flyball.backends.db.metadata import Json, UtcDateTime, metadata
from flyball.core.contract import Contract
from flyball.core.errors import BadInput, RouteConflict, VersionRefused
from flyball.core.project import DecisionSection, Project
from flyball.governance.actors import Actor
from flyball.governance.journal import Change, record
from flyball.registry.route_table import ROUTE_FORMAT, CandidateRole, RoutedVersion, RouteTable, publish
from flyball.registry.versions import get_version

if TYPE_CHECKING:
    from flyball.backends.blobs.store import BlobStore
    from flyball.backends.db.database import Database

deployments = Table(
    "deployments",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("champion", Integer, nullable=False),
    Column("candidate", Integer),
    Column("candidate_role", String(16)),
    Column("share", Float, nullable=False),
    Column("previous", Integer),
    Column("salt", String(64), nullable=False),
    Column("rollout_id", String(40)),
    Column("project", Json, nullable=False),
    Column("why", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Index("ix_deployments_published_at", "published_at"),
)


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted state of serving one model at one revision. `share` is 0 to 1; `project` the settings in force."""

    model: str
    revision: int
    champion: int
    candidate: int | None
    candidate_role: CandidateRole | None
    share: float
    previous: int | None
    salt: str
    rollout_id: str | None
    project: dict[str, Any]
    why: str
    created_at: datetime
    published_at: datetime | None


def want(
    conn: Connection,
    model: str,
    *,
    champion: int,
    candidate: int | None = None,
    candidate_role: CandidateRole | None = None,
    share: float = 0.0,
    previous: int | None,
    salt: str,
    rollout_id: str | None,
    project: dict[str, Any],
    actor: Actor,
    why: str,
    now: datetime,
) -> int:
    """Write the next revision with event and audit entry, in the caller's transaction; returns its number.

    Servers see it once it is published. Raises VersionNotFound, VersionRefused, BadInput.
    """
    _check(conn, model, (champion, candidate, previous), candidate_role, share)
    newest = conn.execute(
        select(func.max(deployments.c.revision)).where(deployments.c.model == model)
    ).scalar()
    revision = 1 + (newest or 0)
    values = {
        "champion": champion,
        "candidate": candidate,
        "candidate_role": candidate_role,
        "share": share,
        "previous": previous,
        "rollout_id": rollout_id,
    }
    conn.execute(
        insert(deployments).values(
            model=model, revision=revision, salt=salt, project=project, why=why, created_at=now, **values
        )
    )
    change = Change(
        actor=actor,
        action="deployment.changed",
        subject=f"deployment:{model}",
        why=why,
        facts={"model": model, "revision": revision, **values},
        event="deployment.changed",
    )
    record(conn, change, now)
    return revision


def current(conn: Connection, model: str) -> Deployment | None:
    """The newest wanted state of a model, or None where nothing was deployed."""
    query = (
        select(deployments)
        .where(deployments.c.model == model)
        .order_by(deployments.c.revision.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else Deployment(**row._mapping)


def list_deployed(conn: Connection) -> list[Deployment]:
    """The newest wanted state of every model that has one, by name."""
    newest = select(deployments.c.model, func.max(deployments.c.revision).label("revision"))
    newest_by_model = newest.group_by(deployments.c.model).subquery()
    query = select(deployments).join(
        newest_by_model,
        (deployments.c.model == newest_by_model.c.model)
        & (deployments.c.revision == newest_by_model.c.revision),
    )
    return [Deployment(**row._mapping) for row in conn.execute(query.order_by(deployments.c.model))]


def list_revisions(conn: Connection, model: str, *, limit: int = 100) -> list[Deployment]:
    """A model's wanted states, newest first."""
    query = select(deployments).where(deployments.c.model == model)
    rows = conn.execute(query.order_by(deployments.c.revision.desc()).limit(limit))
    return [Deployment(**row._mapping) for row in rows]


def project_of(deployment: Deployment) -> Project:
    """The settings in force, typed."""
    return msgspec.convert(deployment.project, Project)


def build_table(conn: Connection, deployment: Deployment, published_at: datetime) -> RouteTable:
    """The document a model server reads; a function of the row and of the versions it names.

    A candidate is isolated whatever it is made of: one that crashes or hangs must cost nobody an answer.
    """
    project = project_of(deployment)
    champion = get_version(conn, deployment.model, deployment.champion)

    def routed(number: int | None) -> RoutedVersion | None:
        if number is None:
            return None
        version = get_version(conn, deployment.model, number)
        isolated = version.isolated or number == deployment.candidate
        return RoutedVersion(number=number, bundle=version.digest, isolated=isolated)

    return RouteTable(
        format=ROUTE_FORMAT,
        model=deployment.model,
        revision=deployment.revision,
        published_at=published_at,
        task=project.model.task,
        target=project.model.target,
        entity=project.model.entity,
        time=project.model.time,
        champion=routed(deployment.champion),
        candidate=routed(deployment.candidate),
        candidate_role=deployment.candidate_role,
        share=deployment.share,
        previous=routed(deployment.previous),
        salt=deployment.salt,
        contract=msgspec.convert(champion.contract, Contract),
        on_violation=project.contract.on_violation,
        positive=project.model.positive,
        threshold=_threshold(project.decision),
        log=project.log,
        serve=project.serve,
    )


def publish_wanted(database: Database, blobs: BlobStore, now: datetime) -> list[tuple[str, int]]:
    """Publish every revision that is not yet, oldest first; model and revision of each.

    Safe to repeat after a crash at any point: a route table is a function of its row, its moment that of the row. One
    model's conflict does not hold up the others: it is raised when they are published.
    """
    with database.read() as conn:
        query = select(deployments).where(deployments.c.published_at.is_(None))
        waiting = [
            Deployment(**row._mapping)
            for row in conn.execute(query.order_by(deployments.c.model, deployments.c.revision))
        ]
        tables = [build_table(conn, deployment, deployment.created_at) for deployment in waiting]
    published: list[tuple[str, int]] = []
    conflicts: dict[str, RouteConflict] = {}
    for table in tables:
        if table.model in conflicts:
            continue
        try:
            publish(blobs, table)
        except RouteConflict as error:
            conflicts[table.model] = error
            continue
        with database.write() as conn:
            conn.execute(
                update(deployments)
                .where(deployments.c.model == table.model, deployments.c.revision == table.revision)
                .values(published_at=now)
            )
        published.append((table.model, table.revision))
    for conflict in conflicts.values():
        raise conflict
    return published


def _check(
    conn: Connection,
    model: str,
    numbers: tuple[int, int | None, int | None],
    candidate_role: str | None,
    share: float,
) -> None:
    if (numbers[1] is None) != (candidate_role is None) or candidate_role not in (None, "canary", "shadow"):
        raise BadInput(f"a candidate is a canary or a shadow, and nothing else is; got {candidate_role!r}")
    if not 0.0 <= share <= 1.0:
        raise BadInput(f"the candidate's share is {share}; it must be from 0 to 1")
    for number in sorted({number for number in numbers if number is not None}):
        if get_version(conn, model, number).state != "registered":
            raise VersionRefused(model, number)


def _threshold(decision: DecisionSection) -> float | None:
    """The probability from which the positive class is answered; from costs, the break-even probability.

    Source: Elkan (2001), The foundations of cost-sensitive learning, IJCAI: p* = c_fp / (c_fp + c_fn).
    """
    if decision.cost is None or decision.threshold is not None:
        return decision.threshold
    total = decision.cost.false_positive + decision.cost.false_negative
    return decision.cost.false_positive / total if total > 0 else None
