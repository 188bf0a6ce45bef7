"""Candidates of retrainings that wait for people to name them in a deployments file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.delivery.left import find_left
from flyball.monitoring.incidents import Incident, get_incident
from flyball.monitoring.signals import Signal, get_signal
from flyball.operations.planning.aims import find_aim
from flyball.operations.planning.differences import Change, compare
from flyball.operations.planning.files import Asked
from flyball.operations.planning.plan import stand
from flyball.operations.planning.sites import Sites
from flyball.registry.evidence import list_evidence
from flyball.registry.routes import current
from flyball.registry.versions import ModelVersion, get_version
from flyball.retraining.retrainings import Retraining, list_retrainings


@dataclass(frozen=True)
class Waiting:
    """A version that waits, with what speaks for it. evaluation: facts of it, empty where there is none.

    champion: that it was measured against, and that is in service. approvals: that its retraining asks for.
    """

    version: ModelVersion
    champion: ModelVersion
    retraining: Retraining
    signal: Signal | None
    incident: Incident | None
    gates: list[dict[str, Any]]
    evaluation: dict[str, Any]
    approvals: int


@dataclass(frozen=True)
class Candidate:
    """A version that a file could name. asked: what it says now. change: what an apply would do then."""

    asked: Asked
    waiting: Waiting
    change: Change
    strategy: str
    approvals: int


@dataclass(frozen=True)
class Nothing:
    """There is nothing to name, and why."""

    asked: Asked
    because: str


def find_candidate(sites: Sites, asked: Asked) -> Candidate | Nothing:
    """The candidate that a file's entry could name; or why there is none. Raises as `Sites.site` and `find_aim`."""
    site = sites.site(asked)
    if site.target is None:
        return Nothing(asked, "nothing was deployed there yet")
    with site.target.database.read() as conn:
        found = _find_waiting(conn, asked.model)
    if isinstance(found, str):
        return Nothing(asked, found)
    number, digest = found.version.number, found.version.digest
    digits = digest.removeprefix("sha256:")
    if asked.prefix is not None and digits.startswith(asked.prefix):
        return Nothing(asked, f"the file names version {number} already")
    if asked.follows is not None:
        because = (
            f'the file follows {asked.follows}; version {number} waits to be named: version = "{digest}"'
        )
        return Nothing(asked, because)
    named = msgspec.structs.replace(asked, prefix=digits)
    wanted = find_aim(site, named, digits)
    change = compare(wanted.aim, stand(site, wanted))
    if change.kind != "deploy":
        return Nothing(asked, f"version {number} waits, and an apply would not deploy it: {change.because}")
    approvals = max(wanted.aim.approvals, found.approvals)
    return Candidate(asked, found, change, wanted.aim.strategy, approvals)


def _find_waiting(conn: Connection, model: str) -> Waiting | str:
    """The newest candidate, where it was left to people and nothing has overtaken it; or why there is none."""
    newest = next(iter(list_retrainings(conn, model, states=("ready",), limit=1)), None)
    if newest is None or newest.version is None:
        return "no retraining has given a candidate"
    number = newest.version
    left = find_left(conn, model, number)
    if left is None:
        return f"version {number}, of the last retraining, was not left to a pull request"
    version, deployment = get_version(conn, model, number), current(conn, model)
    champion = None if deployment is None else deployment.champion
    if champion is None:
        return "no version is in service there"
    if champion == number:
        return f"version {number} is in service"
    if champion != newest.champion:
        return (
            f"version {number} is overtaken: it was measured against version {newest.champion}, and version {champion} "
            "is champion"
        )
    evidence = list_evidence(conn, model, number)
    evaluations = [one.facts for one in evidence if one.kind == "evaluation"]
    return Waiting(
        version=version,
        champion=get_version(conn, model, champion),
        retraining=newest,
        signal=None if newest.signal_id is None else get_signal(conn, newest.signal_id),
        incident=None if newest.incident_id is None else get_incident(conn, newest.incident_id),
        gates=[one.facts for one in evidence if one.kind == "gate"],
        evaluation=evaluations[-1] if evaluations else {},
        approvals=int(left.get("approvals") or 0),
    )
