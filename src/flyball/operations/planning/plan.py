"""What would change, model by model, and what is served that no file names. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flyball.core.errors import Corrupt, Unavailable
from flyball.operations.opening import Backends
from flyball.operations.planning.aims import Wanted, find_aim, find_prefix
from flyball.operations.planning.differences import Aim, Change, Standing, compare
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
    """Every model that the files name, by environment and name. differs: whether any is not as its file says and is on
    no way there that evidence decides, or others are at work on it."""

    differs: bool
    planned: list[Planned]
    not_named: list[NotNamed]


@dataclass(frozen=True)
class Order:
    """What a file asks for one model, with the first digits of the digest that it means; None for none.

    problem: why that can't be told now, such as a store that is away.
    """

    file: DeploymentsFile
    asked: Asked
    prefix: str | None
    problem: str | None = None


def plan(backends: Backends, paths: Sequence[Path], *, take_back: bool = False) -> Plan:
    """What an apply of these files would do now. Raises as `read_files`, and for environments that there are not."""
    files = read_files(paths)
    with Sites(backends) as sites:
        return make_plan(sites, read_orders(sites, files), take_back=take_back)


def read_orders(sites: Sites, files: Sequence[DeploymentsFile]) -> list[Order]:
    """What files ask for, by environment and model, with the digests that it means now."""
    orders = [_order(sites, file, one) for file in files for one in file.asked]
    return sorted(orders, key=lambda order: (order.asked.environment or "", order.asked.model))


def _order(sites: Sites, file: DeploymentsFile, asked: Asked) -> Order:
    try:
        return Order(file, asked, find_prefix(sites, asked))
    except (Unavailable, Corrupt) as error:
        return Order(file, asked, None, error.message)


def make_plan(sites: Sites, orders: Sequence[Order], *, take_back: bool) -> Plan:
    """The plan of files that were read."""
    planned = [_told(order.asked, _plan_one(sites, order, take_back)) for order in orders]
    return Plan(
        differs=any(_is_off(found.change) for found in planned),
        planned=planned,
        not_named=_not_named(sites, [order.asked for order in orders]),
    )


def _is_off(change: Change) -> bool:
    """Whether somebody has to look: a rollout to what the file names goes on by itself, for weeks it may be."""
    is_settled = change.kind == "nothing" or change.waits_for == "evidence"
    return bool(not is_settled or change.notes)


def _plan_one(sites: Sites, order: Order, take_back: bool) -> Change:
    """What there is to do about one model. A home that is away is told, and holds up no other."""
    if order.problem is not None:
        return compare(Aim(digest=None, obstacle=order.problem), Standing())
    try:
        site = sites.site(order.asked)
        wanted = find_aim(site, order.asked, order.prefix)
        return compare(wanted.aim, stand(site, wanted), take_back=take_back)
    except (Unavailable, Corrupt) as error:
        return compare(Aim(digest=None, obstacle=error.message), Standing())


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


def _not_named(sites: Sites, asked: Sequence[Asked]) -> list[NotNamed]:
    """Of every home that files are about: what is in service there and stands in none of them."""
    named = {(one.environment, one.model) for one in asked}
    found = []
    for environment, one in {one.environment: one for one in asked}.items():
        try:
            target = sites.site(one).target
        except (Unavailable, Corrupt):
            continue  # told of each of its models
        if target is None:
            continue
        with target.database.read() as conn:
            for deployment in list_deployed(conn):
                if deployment.champion is None or (environment, deployment.model) in named:
                    continue
                digest = get_version(conn, deployment.model, deployment.champion).digest
                found.append(NotNamed(environment=environment, model=deployment.model, champion=digest))
    return found
