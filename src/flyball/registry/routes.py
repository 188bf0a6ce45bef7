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
    Row,
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
from flyball.core.errors import BadInput, NotFound, RouteConflict, VersionRefused
from flyball.core.project import DecisionSection, Project
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.registry.models import get_model
from flyball.registry.route_table import CandidateRole, RoutedVersion, RouteTable, publish
from flyball.registry.versions import get_version

if TYPE_CHECKING:
    from flyball.backends.blobs.store import BlobStore
    from flyball.backends.db.database import Database

deployments = Table(
    "deployments",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("champion", Integer),
    Column("candidate", Integer),
    Column("candidate_role", String(16)),
    Column("share", Float(53), nullable=False),
    Column("previous", Integer),
    Column("salt", String(255), nullable=False),
    Column("rollout_id", String(64)),
    Column("project", Json, nullable=False),
    Column("contract", Json, nullable=False),
    Column("why", Text, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Index("ix_deployments_published_at", "published_at"),
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to answer for a model. share: of keys (0 to 1), for a canary. project: the settings that hold then."""

    champion: int | None
    candidate: int | None = None
    candidate_role: CandidateRole | None = None
    share: float = 0.0
    previous: int | None
    salt: str
    rollout_id: str | None
    project: dict[str, Any]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted state of serving one model, from `revision` on. `published_at` is None until servers can see it.

    contract: of the champion, which requests are held against. share: of keys (0 to 1), for a canary. project: the
    settings in force.
    """

    model: str
    revision: int
    champion: int | None
    candidate: int | None
    candidate_role: CandidateRole | None
    share: float
    previous: int | None
    salt: str
    rollout_id: str | None
    project: dict[str, Any]
    contract: Contract
    why: str
    actor: str
    created_at: datetime
    published_at: datetime | None

    @property
    def wanted(self) -> Wanted:
        """The same again, to be changed and wanted as the next revision."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.__struct_fields__})


def want(conn: Connection, model: str, wanted: Wanted, *, actor: Actor, why: str, now: datetime) -> int:
    """Write the next revision of a model's wanted state, in the caller's write transaction; its number.

    With event and audit entry. Servers see it once it is published. Raises ModelNotFound, VersionNotFound,
    VersionRefused, BadInput.
    """
    get_model(conn, model)
    _check(conn, model, wanted)
    contract = Contract() if wanted.champion is None else get_version(conn, model, wanted.champion).contract
    highest = conn.execute(
        select(func.max(deployments.c.revision)).where(deployments.c.model == model)
    ).scalar()
    revision: int = (highest or 0) + 1
    facts = {"model": model, "revision": revision, **msgspec.structs.asdict(wanted)}
    conn.execute(
        insert(deployments).values(**facts, contract=contract, why=why, actor=actor.name, created_at=now)
    )
    del facts["project"]  # the revision's row has it
    change = Change(
        actor=actor,
        action="deployment.changed",
        subject=f"deployment:{model}",
        why=why,
        facts={**facts, "role": wanted.candidate_role},
        event="deployment.changed",
    )
    record(conn, change, now)
    return revision


def current(conn: Connection, model: str) -> Deployment | None:
    """The newest wanted state of a model, or None if it was never deployed."""
    found = list_revisions(conn, model, limit=1)
    return found[0] if found else None


def get_deployment(conn: Connection, model: str, revision: int) -> Deployment:
    """One revision of a model's wanted state. Raises NotFound."""
    query = select(deployments).where(deployments.c.model == model, deployments.c.revision == revision)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{model} has no deployment revision {revision}", model=model, revision=revision)
    return _read(row)


def list_deployed(conn: Connection) -> list[Deployment]:
    """The newest wanted state of every model that was ever deployed, by name."""
    newest = select(deployments.c.model, func.max(deployments.c.revision).label("revision"))
    newest_by_model = newest.group_by(deployments.c.model).subquery()
    query = select(deployments).join(
        newest_by_model,
        (deployments.c.model == newest_by_model.c.model)
        & (deployments.c.revision == newest_by_model.c.revision),
    )
    return [_read(row) for row in conn.execute(query.order_by(deployments.c.model))]


def list_revisions(conn: Connection, model: str, limit: int = 100) -> list[Deployment]:
    """A model's wanted states, newest first."""
    query = select(deployments).where(deployments.c.model == model)
    return [_read(row) for row in conn.execute(query.order_by(deployments.c.revision.desc()).limit(limit))]


def find_last_revision(conn: Connection, model: str, champion: int) -> Deployment | None:
    """The newest wanted state in which a version was champion, or None if it never was."""
    query = select(deployments).where(deployments.c.model == model, deployments.c.champion == champion)
    row = conn.execute(query.order_by(deployments.c.revision.desc()).limit(1)).one_or_none()
    return None if row is None else _read(row)


def list_champions(conn: Connection, model: str) -> list[tuple[int, int]]:
    """Each change of champion, oldest first: the revision that made it, and who was champion from then on."""
    query = select(deployments.c.revision, deployments.c.champion).where(
        deployments.c.model == model, deployments.c.champion.is_not(None)
    )
    changes: list[tuple[int, int]] = []
    for revision, champion in conn.execute(query.order_by(deployments.c.revision)):
        if not changes or changes[-1][1] != champion:
            changes.append((revision, champion))
    return changes


def project_of(deployment: Deployment) -> Project:
    """The settings in force with a deployment, typed."""
    return msgspec.convert(deployment.project, Project)


def build_table(conn: Connection, deployment: Deployment) -> RouteTable:
    """The document a model server reads; a function of the row and of the versions it names.

    A candidate is isolated whatever it is made of: one that crashes or hangs must cost nobody an answer.
    """
    project = project_of(deployment)

    def routed(number: int | None) -> RoutedVersion | None:
        if number is None:
            return None
        version = get_version(conn, deployment.model, number)
        isolated = version.isolated or number == deployment.candidate
        return RoutedVersion(number=number, bundle=version.digest, isolated=isolated)

    return RouteTable(
        model=deployment.model,
        revision=deployment.revision,
        published_at=deployment.created_at,
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
        contract=deployment.contract,
        on_violation=project.contract.on_violation,
        positive=project.model.positive,
        threshold=threshold_of(project.decision),
        log=project.log,
        serve=project.serve,
    )


def threshold_of(decision: DecisionSection) -> float | None:
    """The probability from which on the positive class is decided, or None where the project sets none.

    From costs, the break-even probability fp / (fp + fn). Source: Elkan (2001), The foundations of cost-sensitive
    learning, IJCAI.
    """
    if decision.threshold is not None or decision.cost is None:
        return decision.threshold
    total = decision.cost.false_positive + decision.cost.false_negative
    return decision.cost.false_positive / total if total > 0 else None


def publish_wanted(database: Database, blobs: BlobStore, now: datetime) -> list[tuple[str, int]]:
    """Publish every revision that servers can't see yet, oldest first; model and revision of each.

    Safe to repeat after a crash at any point: a route table is a function of its row, its moment that of the row. One
    model's conflict does not hold up the others: it is raised when they are published.
    """
    with database.read() as conn:
        query = select(deployments).where(deployments.c.published_at.is_(None))
        rows = conn.execute(query.order_by(deployments.c.model, deployments.c.revision)).all()
        tables = [build_table(conn, _read(row)) for row in rows]
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
        published.append((table.model, table.revision))
        _mark_published(database, table, now)
    for conflict in conflicts.values():
        raise conflict
    return published


def _mark_published(database: Database, table: RouteTable, now: datetime) -> None:
    this = (deployments.c.model == table.model) & (deployments.c.revision == table.revision)
    unseen = this & deployments.c.published_at.is_(None)
    with database.write() as conn:
        conn.execute(update(deployments).where(unseen).values(published_at=now))


def _check(conn: Connection, model: str, wanted: Wanted) -> None:
    role = wanted.candidate_role
    if (wanted.candidate is None) != (role is None) or role not in (None, "canary", "shadow"):
        raise BadInput(f"a candidate is a canary or a shadow, and nothing else is; got {role!r}")
    if not 0.0 <= wanted.share <= 1.0:
        raise BadInput(f"the candidate's share is {wanted.share}; it must be from 0 to 1")
    if wanted.candidate is not None and wanted.champion is None:
        raise BadInput(f"{model} has no champion to answer beside its candidate", model=model)
    numbers = {wanted.champion, wanted.candidate, wanted.previous}
    for number in sorted(number for number in numbers if number is not None):
        if get_version(conn, model, number).state != "registered":
            raise VersionRefused(model, number)


def _read(row: Row[Any]) -> Deployment:
    values = dict(row._mapping)
    values["contract"] = msgspec.convert(values["contract"], Contract)
    return Deployment(**values)
