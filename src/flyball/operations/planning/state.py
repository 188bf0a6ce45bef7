"""How one model stands in one home: champion, settings, rollout, and what was decided since the last apply."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from flyball.core.errors import NotFound
from flyball.core.refs import ModelRef
from flyball.delivery.approvals import approvals_left, find_rejection
from flyball.delivery.candidates import POLICY
from flyball.delivery.rollback import way_back
from flyball.delivery.rollouts import Rollout, find_unfinished, get_rollout
from flyball.delivery.settings import settings_of
from flyball.governance.actors import SYSTEM
from flyball.governance.events import Event, list_events
from flyball.operations.planning.differences import UNDECIDED, Standing, Underway, Word
from flyball.operations.planning.marks import APPLIED
from flyball.registry.routes import current
from flyball.registry.versions import ModelVersion, find_by_digest, get_version, resolve

INTO_SERVICE = ("deployment.first", "deployment.rolled_back", "rollout.promoted")
OUT_OF_IT = ("rollout.aborted", "rollout.undecided", "rollout.rolled_back")
# As many decisions about one model are looked back upon; who decided before them is forgotten.
HISTORY = 1000
_COMMANDS = {
    "deployment.first": "deploy",
    "deployment.rolled_back": "rollback",
    "rollout.promoted": "rollout promote",
    "rollout.aborted": "rollout abort",
    "rollout.undecided": UNDECIDED,
    "rollout.rolled_back": "rollback",
}


class PastApplies(msgspec.Struct, frozen=True, kw_only=True):
    """What applies have done: the last wanted digest, the rollouts they started, and the numbers of their entries."""

    digest: str | None = None
    number: int = 0
    rollouts: frozenset[str] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()

    def did(self, event: Event) -> bool:
        """Whether an apply did this; what became of a rollout that it began is not its doing."""
        return any(begin < event.number <= end for begin, end in self.ranges)


def find_wanted(conn: Connection, model: str, prefix: str) -> ModelVersion | None:
    """The version whose digest begins so, the one that passed its gates where several have it; None if there is none.

    Raises InvalidReference when versions of several digests begin so.
    """
    try:
        found = resolve(conn, ModelRef(model, digest_prefix=prefix))
    except NotFound:
        return None
    same = [version for version in find_by_digest(conn, found.digest) if version.model == model]
    return next((version for version in reversed(same) if version.state == "registered"), found)


def find_refusal(conn: Connection, version: ModelVersion) -> str | None:
    """Why a version may not go into service here, None if it may."""
    name = f"{version.model}@{version.number}"
    if version.state != "registered":
        return f"it failed its gates (`flyball show {name}` says which)"
    if (rejection := find_rejection(conn, version.model, version.number, version.digest)) is not None:
        return f"it was {rejection}; who said so takes it back by `flyball approve {name} --why …`"
    return None


def read_standing(conn: Connection, model: str, digest: str | None) -> Standing:
    """How a model stands, seen from the wanted digest; an empty standing for a model that is not known here."""
    deployment = current(conn, model)
    champion = None if deployment is None else deployment.champion
    events = list_events(
        conn, kinds=[APPLIED, *INTO_SERVICE, *OUT_OF_IT], model=model, limit=HISTORY, newest_first=True
    )
    applied = _applied(events)
    digest_now = None if champion is None else get_version(conn, model, champion).digest
    return Standing(
        champion=digest_now,
        settings={} if deployment is None or champion is None else settings_of(deployment.project),
        rollout=_underway(conn, model, applied),
        earlier=tuple(dict.fromkeys(get_version(conn, model, n).digest for n in way_back(conn, model))),
        denial=None if digest is None else _denial(conn, model, digest, events, applied),
        mover=None if digest_now in (None, applied.digest) else _mover(conn, events, applied),
        applied=applied.digest,
    )


def _applied(events: list[Event]) -> PastApplies:
    mine = [event for event in events if event.kind == APPLIED]
    if not mine:
        return PastApplies()
    return PastApplies(
        digest=mine[0].facts["digest"],
        number=mine[0].number,
        rollouts=frozenset(found for event in mine if (found := event.facts.get("rollout_id"))),
        ranges=tuple((event.facts["after"], event.number) for event in mine),
    )


def _underway(conn: Connection, model: str, applied: PastApplies) -> Underway | None:
    rollout = find_unfinished(conn, model)
    if rollout is None:
        return None
    return Underway(
        id=rollout.id,
        version=f"{model}@{rollout.candidate}",
        digest=rollout.digest,
        state=rollout.state,
        strategy=rollout.strategy,
        step=rollout.step,
        missing=approvals_left(conn, rollout),
        is_applied=rollout.id in applied.rollouts,
        word=_start_of(rollout, rollout.started_at),
    )


def _denial(
    conn: Connection, model: str, digest: str, events: list[Event], applied: PastApplies
) -> Word | None:
    """The newest word on a version, where it is against it and was said by no apply."""
    numbers = {version.number for version in find_by_digest(conn, digest) if version.model == model}
    for event in events:
        facts = event.facts
        if event.kind == APPLIED:
            if facts["digest"] == digest and facts["kind"] != "nothing":
                return None
        elif applied.did(event):
            continue
        elif event.kind == "deployment.rolled_back":
            if facts["from_number"] in numbers:
                return _word(conn, event)
            if facts["to_number"] in numbers:
                return None
        elif facts["version"] in numbers:
            return None if event.kind in INTO_SERVICE else _word(conn, event)
    return None


def _mover(conn: Connection, events: list[Event], applied: PastApplies) -> Word | None:
    """Who put the champion into service since the last apply, where no apply did; None before the first apply."""
    newest = next((event for event in events if event.kind in INTO_SERVICE), None)
    if newest is None or not applied.number or newest.number < applied.number:
        return None
    return _word(conn, newest)


def _word(conn: Connection, event: Event) -> Word:
    why, actor = str(event.facts.get("because") or ""), event.actor
    if event.kind == "rollout.promoted" and not why.startswith(f"promoted by {actor.name}: "):
        # By its evidence, or by its strategy: whoever put it on its way decided.
        started = get_rollout(conn, event.facts["rollout_id"])
        return _start_of(started, event.at)
    for verb in ("rolled back", "promoted", "aborted"):
        why = why.removeprefix(f"{verb} by {actor.name}: ").removeprefix(f"{verb}: ")
    is_person = actor.kind == "person"
    return Word(at=event.at, by=actor.name, command=_COMMANDS[event.kind], why=why, is_person=is_person)


def _start_of(rollout: Rollout, at: datetime) -> Word:
    is_person = rollout.actor not in (POLICY.name, SYSTEM.name)
    return Word(at=at, by=rollout.actor, command="deploy", why=rollout.why, is_person=is_person)
