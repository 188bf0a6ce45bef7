"""What would change, model by model, and what is served that no file names. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from flyball.operations.opening import Backends
from flyball.operations.planning.aims import Wanted, find_aim, find_prefix
from flyball.operations.planning.differences import Change, Standing, compare
from flyball.operations.planning.files import Asked, DeploymentsFile, read_files
from flyball.operations.planning.sites import Site, Sites
from flyball.operations.planning.state import read_standing
from flyball.registry.routes import list_deployed
from flyball.registry.versions import get_version


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What is planned for one model of one environment (None: this home), and where a file asks for it."""

    environment: str | None
    model: str
    file: str
    line: int
    why: str
    change: Change


class NotNamed(msgspec.Struct, frozen=True, kw_only=True):
    """A model in service that no file names; nothing is done about it."""

    environment: str | None
    model: str
    champion: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Every model that the files name, by environment and name. differs: whether any is not as its file says."""

    differs: bool
    planned: list[Planned]
    not_named: list[NotNamed]


def plan(backends: Backends, paths: Sequence[Path], *, take_back: bool = False) -> Plan:
    """What an apply of these files would do now. Raises as `read_files`, and for environments that there are not."""
    files = read_files(paths)
    with Sites(backends) as sites:
        return make_plan(sites, files, take_back=take_back)


def make_plan(sites: Sites, files: Sequence[DeploymentsFile], *, take_back: bool) -> Plan:
    """The plan of files that were read."""
    planned = []
    for one in in_order(files):
        site = sites.site(one)
        wanted = find_aim(site, one, find_prefix(sites, one))
        planned.append(_told(one, compare(wanted.aim, stand(site, wanted), take_back=take_back)))
    return Plan(
        differs=any(found.change.kind != "nothing" for found in planned),
        planned=planned,
        not_named=_not_named(sites, files),
    )


def in_order(files: Sequence[DeploymentsFile]) -> list[Asked]:
    """What files ask for, in an order that does not depend on theirs."""
    asked = [one for file in files for one in file.asked]
    return sorted(asked, key=lambda one: (one.environment or "", one.model))


def stand(site: Site, wanted: Wanted) -> Standing:
    """How the model stands where it goes."""
    if site.target is None:
        return Standing()
    with site.target.database.read() as conn:
        return read_standing(conn, wanted.asked.model, wanted.aim.digest)


def _told(asked: Asked, change: Change) -> Planned:
    return Planned(
        environment=asked.environment,
        model=asked.model,
        file=asked.file,
        line=asked.line,
        why=asked.why,
        change=change,
    )


def _not_named(sites: Sites, files: Sequence[DeploymentsFile]) -> list[NotNamed]:
    """Of every home that files are about: what is in service there and stands in none of them."""
    named = {(one.environment, one.model) for one in in_order(files)}
    found = []
    for environment in sorted({one.environment for one in in_order(files)}, key=lambda name: name or ""):
        asked = next(one for one in in_order(files) if one.environment == environment)
        target = sites.site(asked).target
        if target is None:
            continue
        with target.database.read() as conn:
            for deployment in list_deployed(conn):
                if deployment.champion is None or (environment, deployment.model) in named:
                    continue
                digest = get_version(conn, deployment.model, deployment.champion).digest
                found.append(NotNamed(environment=environment, model=deployment.model, champion=digest))
    return found
