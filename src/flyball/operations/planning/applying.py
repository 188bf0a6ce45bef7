"""Doing what files want, model by model: each in one transaction that judges anew, with its mark in the audit trail.

The mark (`deployment.applied`) is written with the change itself, so that a process that dies in between leaves either
both or none, and later it can be told what an apply did from what people did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.errors import FlyballError, Unavailable
from flyball.core.values import Actor
from flyball.data.model_time import find_model_time
from flyball.delivery import control, rollback, start
from flyball.delivery.rollouts import get_unfinished
from flyball.delivery.settings import change_settings
from flyball.delivery.transitions import Moment
from flyball.governance.journal import head
from flyball.operations.deploying import check_files
from flyball.operations.environments.deploying import check_routes
from flyball.operations.environments.transfer import carry
from flyball.operations.opening import Backends
from flyball.operations.planning.aims import Wanted, find_aim
from flyball.operations.planning.differences import Change, compare, differing
from flyball.operations.planning.files import Asked, DeploymentsFile, read_files
from flyball.operations.planning.marks import mark_file, mark_model, reason
from flyball.operations.planning.plan import Order, Plan, Planned, make_plan, read_orders, stand
from flyball.operations.planning.sites import Site, Sites
from flyball.operations.planning.state import find_refusal, read_standing
from flyball.operations.publishing import publish_now
from flyball.pipelines.strangers import refuse_deploying
from flyball.registry.versions import get_version

# What no server could load must not go into service: files are read before.
STARTING = ("first", "deploy", "begin", "roll back")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one planned change. change: as it was judged when it was done.

    done: in words; empty where nothing was. unlike_plan: whether reality had moved since the plan. error: what went
    wrong, with its stable code.
    """

    planned: Planned
    change: Change
    done: str = ""
    unlike_plan: bool = False
    rollout_id: str | None = None
    revision: int | None = None
    error: str | None = None
    code: str | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What an apply did. exit_code: 0 when all is done or under way, 1 when something failed, is held or blocked.

    4 when what is held or blocked is so for want of evidence.
    """

    plan: Plan
    outcomes: list[Outcome]
    exit_code: int


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Who applies, with which reason, and whether also against what people decided."""

    actor: Actor
    why: str
    take_back: bool


def apply(
    backends: Backends,
    paths: Sequence[Path],
    *,
    why: str,
    take_back: bool,
    actor: Actor,
    on_plan: Callable[[Plan], None] | None = None,
) -> Applied:
    """Do what the files want. One model's failure stops no other; a repeat does nothing.

    Raises as `plan`, and Refused for environments from where strangers' changes are checked.
    """
    files = read_files(paths)
    if any(file.environment for file in files):
        refuse_deploying(backends.settings)
    given = Given(actor=actor, why=why, take_back=take_back)
    with Sites(backends) as sites:
        orders = read_orders(sites, files)
        made = make_plan(sites, orders, take_back=take_back)
        if on_plan is not None:
            on_plan(made)
        found: dict[Asked, Outcome] = {}
        # What others are followed by, or come after, is changed behind them: each is done as it was planned.
        for order, planned in sorted(
            zip(orders, made.planned, strict=True), key=lambda pair: -sites.depth(pair[0].asked)
        ):
            found[order.asked] = _guarded(sites, planned, order, given)
        outcomes = [found[order.asked] for order in orders]
        for file in files:
            _note_file(sites, file, [found[one] for one in file.asked], given)
    return Applied(plan=made, outcomes=outcomes, exit_code=_exit_code(outcomes))


def _exit_code(outcomes: list[Outcome]) -> int:
    stuck = [one for one in outcomes if one.error is not None or one.change.kind in ("held", "blocked")]
    if any(one.error is not None or not one.change.is_undecided for one in stuck):
        return 1
    return 4 if stuck else 0


def _guarded(sites: Sites, planned: Planned, order: Order, given: Given) -> Outcome:
    """The edge of one model: what goes wrong with it is told, and the others go on."""
    try:
        while True:
            outcome = _attempt(sites, planned, order, given)
            if outcome is not None:
                return outcome
    except FlyballError as error:
        return Outcome(planned=planned, change=planned.change, error=error.message, code=error.code)


def _attempt(sites: Sites, planned: Planned, order: Order, given: Given) -> Outcome | None:
    """What was done about one model; None when reality moved on before it could be, and all is to be read again.

    Judged once to carry and read files, which takes a while, and once more in the transaction that does it.
    """
    if order.problem is not None:
        raise Unavailable(order.problem)
    site = sites.site(order.asked)
    wanted = find_aim(site, order.asked, order.prefix)
    now = stand(site, wanted)
    seen = compare(wanted.aim, now, take_back=given.take_back)
    if not seen.is_acting and (seen.kind in ("held", "blocked") or now.applied == seen.digest):
        if site.target is not None:
            publish_now(site.target)  # what was decided by one that died before its routes were published
        return Outcome(planned=planned, change=seen, unlike_plan=_is_unlike(planned, seen))
    site = sites.site(order.asked, make=True)
    assert site.target is not None
    if seen.kind in ("first", "deploy"):
        wanted = _carried(site, wanted, given.actor)
    if seen.kind in STARTING and wanted.here is not None:
        check_files(site.target, wanted.here)
    with site.target.database.write() as conn:
        change = _judge(conn, wanted, given)
        if change.kind in STARTING and seen.kind not in STARTING:
            return None
        outcome = _Doing(conn, site.target, order.file, wanted, given).carry_out(planned, change)
    publish_now(site.target)
    return outcome


def _is_unlike(planned: Planned, change: Change) -> bool:
    return (change.kind, change.digest) != (planned.change.kind, planned.change.digest)


def _carried(site: Site, wanted: Wanted, actor: Actor) -> Wanted:
    """The same, with the version known where it goes: its digest is the one that was tested."""
    if site.environment is None or wanted.there is None:
        return wanted
    assert site.source is not None and site.target is not None
    check_routes(site.target, wanted.asked.model, site.environment)
    carried = carry(
        site.source,
        site.target,
        wanted.there,
        source_name=site.environment.section.after,
        actor=actor,
        verdicts=list(wanted.verdicts),
    )
    return Wanted(wanted.asked, wanted.aim, carried.version, wanted.there, wanted.project, wanted.verdicts)


def _judge(conn: Connection, wanted: Wanted, given: Given) -> Change:
    aim = wanted.aim
    if wanted.here is not None:
        aim = msgspec.structs.replace(aim, obstacle=find_refusal(conn, wanted.here))
    now = read_standing(conn, wanted.asked.model, aim.digest)
    return compare(aim, now, take_back=given.take_back)


class _Doing:
    """One model's change within its transaction."""

    def __init__(
        self, conn: Connection, target: Backends, file: DeploymentsFile, wanted: Wanted, given: Given
    ) -> None:
        self.conn, self.file, self.wanted, self.given = conn, file, wanted, given
        self.model, self.now = wanted.asked.model, target.clock.now()
        self.common: dict[str, Any] = {
            "actor": given.actor,
            "why": reason(file, given.why or wanted.asked.why),
            "now": self.now,
            "model_time": find_model_time(conn, self.model, self.now),
        }

    def carry_out(self, planned: Planned, change: Change) -> Outcome:
        """Do a change, and mark it as done by an apply; what is not to be done now is only told."""
        before = head(self.conn).number
        outcome = Outcome(planned=planned, change=change, unlike_plan=_is_unlike(planned, change))
        if change.is_acting:
            outcome = self._act(change, outcome)
        self._mark(change, outcome, before)
        return outcome

    def _act(self, change: Change, outcome: Outcome) -> Outcome:
        conn, model, common = self.conn, self.model, self.common
        replace = msgspec.structs.replace
        words = []
        if change.ends is not None and change.kind != "roll back":  # a rollback ends it by itself
            control.abort(conn, model, **common)
            words.append("ended the rollout under way")
        if change.kind in ("first", "deploy", "begin"):
            started = self._start(change)
            words.append(f"{model}@{started.version}: {started.state}, {started.because}")
            outcome = replace(outcome, rollout_id=started.rollout_id, revision=started.revision)
        elif change.kind == "roll back":
            back = rollback.rollback(conn, model, to=self._number_before(), **common)
            words.append(f"{model}@{back.to_number} is in service again, for version {back.from_number}")
            outcome = replace(outcome, revision=back.revision)
        if change.kind in ("roll back", "end", "settings"):
            outcome, told = self._settle(outcome)
            words += told
        return replace(outcome, done="; ".join(words))

    def _start(self, change: Change) -> start.Started:
        if change.kind == "begin":
            moment = Moment(now=self.now, model_time=self.common["model_time"] or self.now)
            waiting = get_unfinished(self.conn, self.model)
            return start.launch(self.conn, waiting, actor=self.given.actor, moment=moment)
        version = self.wanted.here
        assert version is not None and version.digest == change.digest  # what is deployed is what was tested
        return start.deploy(self.conn, self.model, version.number, project=self.wanted.project, **self.common)

    def _number_before(self) -> int:
        """The number under which the wanted version was champion."""
        numbers = [
            number
            for number in rollback.way_back(self.conn, self.model)
            if get_version(self.conn, self.model, number).digest == self.wanted.aim.digest
        ]
        return numbers[-1]

    def _settle(self, outcome: Outcome) -> tuple[Outcome, list[str]]:
        """Let the wanted settings hold where others do."""
        now = read_standing(self.conn, self.model, self.wanted.aim.digest)
        changed = differing(now.settings, self.wanted.aim.settings)
        if not changed:
            return outcome, []
        revision = change_settings(self.conn, self.model, self.wanted.aim.settings, **self.common)
        words = f"settings changed: {', '.join(one.key for one in changed)}"
        return msgspec.structs.replace(outcome, revision=revision), [words]

    def _mark(self, change: Change, outcome: Outcome, before: int) -> None:
        """Keep what the file wanted: whenever something was done, and once for a file that found it so."""
        found = change.kind in ("nothing", "wait") and self._last_wanted() != change.digest
        if not change.is_acting and not found:
            return
        facts = {
            "model": self.model,
            "environment": self.wanted.asked.environment,
            "digest": change.digest,
            "kind": change.kind,
            "rollout_id": outcome.rollout_id,
            "revision": outcome.revision,
            "after": before,
            "took_back": self.given.take_back,
            "because": outcome.done or change.because,
        }
        why = self.common["why"]
        mark_model(self.conn, self.file, facts, actor=self.given.actor, why=why, now=self.now)

    def _last_wanted(self) -> str | None:
        return read_standing(self.conn, self.model, self.wanted.aim.digest).applied


def _note_file(sites: Sites, file: DeploymentsFile, outcomes: list[Outcome], given: Given) -> None:
    """One audit entry per file, when something was done or failed, or when the file is another than the last time."""
    try:
        target = sites.site(file.asked[0]).target if file.asked else None
    except FlyballError:
        return  # a home that is away; its models are told to have failed
    if target is None:
        return
    models = {
        one.planned.model: {
            "kind": one.change.kind,
            "digest": one.change.digest,
            "done": one.done,
            "error": one.error,
        }
        for one in outcomes
    }
    with target.database.write() as conn:
        mark_file(
            conn,
            file,
            models,
            is_news=any(one.done or one.error for one in outcomes),
            actor=given.actor,
            why=reason(file, given.why),
            now=target.clock.now(),
        )
