"""What has to change so that reality is as a file wants it: a pure function of the two."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from flyball.core.clock import isoformat

Kind = Literal[
    "nothing", "first", "deploy", "begin", "roll back", "end", "settings", "wait", "held", "blocked"
]
UNDECIDED = "rollout undecided"
ACTING: tuple[Kind, ...] = ("first", "deploy", "begin", "roll back", "end", "settings")


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What a file wants of one model in one environment, as far as that can be told.

    digest: of the wanted version, None where `obstacle` says why it is not known. obstacle: why it may not go into
    service there at all; barrier: why it is not taken there now, which holds up no way back (is_undecided: for want of
    evidence). settings: that are to hold with it, in full, by section.
    """

    digest: str | None
    obstacle: str | None = None
    barrier: str | None = None
    is_undecided: bool = False
    settings: dict[str, Any] = {}
    strategy: str = "canary"
    approvals: int = 0


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that no apply took: by whom, when, by which command, and the reason given."""

    at: datetime
    by: str
    command: str
    why: str
    is_person: bool = True

    def __str__(self) -> str:
        if not self.is_person:
            return f"since {isoformat(self.at)[:19]}Z, by {self.by}: {self.command} ({self.why})"
        return f"since {isoformat(self.at)[:19]}Z, by {self.by}: `{self.command} --why {quoted(self.why)}`"


class Underway(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout that has not ended. version: as `model@number`, there. is_applied: an apply started it. missing:
    approvals that it waits for.
    """

    id: str
    version: str
    digest: str
    state: str
    strategy: str
    step: int
    missing: int
    is_applied: bool
    word: Word


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How one model stands in one environment.

    earlier: champions that a rollback may go back to, none of which a rollback took out. denial: the last word on the
    wanted version, where it went against it and no apply said it. mover: who put the champion into service since the
    last apply, where no apply did. applied: the digest that the last apply wanted.
    """

    champion: str | None = None
    settings: dict[str, Any] = {}
    rollout: Underway | None = None
    earlier: tuple[str, ...] = ()
    denial: Word | None = None
    mover: Word | None = None
    applied: str | None = None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that changes: its dotted key, what holds now, what is wanted."""

    key: str
    old: Any
    new: Any


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done about one model, and why.

    `begin`: a rollout that has its approvals by now. `end`: a rollout is ended, the champion stays. `held`: people or
    guards decided otherwise since, which is taken back only when asked. `blocked`: it can't be done now.
    ends: the rollout that is ended by it, or before it. settings: those in force that differ. notes: what others
    did since, where it stands in the way of nothing. waits_for: of a rollout under way. is_undecided: for want of
    evidence.
    """

    kind: Kind
    because: str
    champion: str | None
    digest: str | None
    ends: str | None = None
    settings: list[Setting] = []
    notes: list[str] = []
    advice: str = ""
    waits_for: Literal["evidence", "people"] | None = None
    is_undecided: bool = False

    @property
    def is_acting(self) -> bool:
        """Whether an apply would do something."""
        return self.kind in ACTING


def compare(aim: Aim, now: Standing, *, take_back: bool = False) -> Change:
    """What has to be done about one model. take_back: also against what was decided by hand, or by guards."""
    if aim.digest is None:
        return _change("blocked", aim, now, aim.obstacle or "the version is not known")
    if now.champion == aim.digest:
        return _in_service(aim, now, take_back)
    rollout = now.rollout
    if rollout is not None and rollout.digest == aim.digest:
        return _under_way(aim, now, rollout)
    if aim.obstacle is not None:
        return _change("blocked", aim, now, aim.obstacle)
    if rollout is not None and not rollout.is_applied and not take_back:
        return _change(
            "blocked",
            aim,
            now,
            f"another version ({_short(rollout.digest)}) is being rolled out {rollout.word}",
            advice="wait for its end, or apply with --take-back to end it",
        )
    objection = _objection(aim, now)
    if objection is not None and not take_back:
        return _held(aim, now, objection)
    ends = None if rollout is None else rollout.id
    notes = [] if now.mover is None else [f"reality was changed {now.mover}"]
    if aim.digest in now.earlier and now.denial is None:
        words = "it was champion before, and goes back into service at once"
        return _change("roll back", aim, now, words, ends=ends, notes=notes)
    if aim.barrier is not None:
        blocked = _change("blocked", aim, now, aim.barrier)
        return msgspec.structs.replace(blocked, is_undecided=aim.is_undecided)
    if now.champion is None:
        return _change("first", aim, now, _first_words(aim), ends=ends, notes=notes)
    return _change("deploy", aim, now, _deploy_words(aim), ends=ends, notes=notes)


def differing(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[Setting]:
    """The settings in which two tables differ, by dotted key; what a table lacks is None."""
    found: list[Setting] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differing(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(Setting(key=f"{prefix}{name}", old=before, new=after))
    return found


def quoted(text: str) -> str:
    """A reason as one would type it."""
    return text if text and not set(text) & set(" \"'`$\\") else '"' + text.replace('"', "'") + '"'


def _in_service(aim: Aim, now: Standing, take_back: bool) -> Change:
    """The wanted version is champion: a rollout beside it, and settings, may be what is not wanted."""
    rollout, notes = now.rollout, []
    if rollout is not None and rollout.digest != aim.digest:
        if rollout.is_applied or take_back:
            words = f"the file no longer names {_short(rollout.digest)}, which is {rollout.state}"
            return _change("end", aim, now, words, ends=rollout.id)
        notes = [f"another version ({_short(rollout.digest)}) is being rolled out {rollout.word}"]
    if differing(now.settings, aim.settings):
        return _change("settings", aim, now, "the version is in service, under other settings", notes=notes)
    return _change("nothing", aim, now, "in service, as the file says", notes=notes)


def _under_way(aim: Aim, now: Standing, rollout: Underway) -> Change:
    if rollout.state == "waiting" and aim.obstacle is not None:
        return _change("blocked", aim, now, aim.obstacle)
    if rollout.state == "waiting" and rollout.missing == 0:
        return _change("begin", aim, now, "its rollout has the approvals it waited for")
    words, advice = f"its rollout ({rollout.strategy}) is at step {rollout.step + 1}", ""
    if rollout.state == "waiting":
        words = f"its rollout waits for {rollout.missing} approval(s)"
        advice = f"`flyball approve {rollout.version} --why …` by people other than the author"
    elif rollout.state == "paused":
        words = f"{words} and paused"
        advice = f"`flyball rollout resume {rollout.version.partition('@')[0]} --why …` lets it go on"
    waits_for: Literal["evidence", "people"] = "evidence" if rollout.state == "running" else "people"
    return msgspec.structs.replace(_change("wait", aim, now, words, advice=advice), waits_for=waits_for)


def _objection(aim: Aim, now: Standing) -> Word | None:
    """Who decided otherwise since the file was applied. A file that names yet another version goes on from there."""
    if now.denial is not None:
        return now.denial
    return now.mover if now.applied == aim.digest else None


def _held(aim: Aim, now: Standing, word: Word) -> Change:
    advice = "write it into the file, or apply with --take-back to take it back"
    held = _change("held", aim, now, f"differs from the file {word}", advice=advice)
    return msgspec.structs.replace(held, is_undecided=word.command == UNDECIDED)


def _first_words(aim: Aim) -> str:
    if aim.approvals:
        return f"no version is in service yet; it needs {aim.approvals} approval(s)"
    return "no version is in service yet: it goes into service at once"


def _deploy_words(aim: Aim) -> str:
    ways = {"immediate": "at once, without comparison"}
    words = f"rolled out {ways.get(aim.strategy, f'by {aim.strategy}')}"
    return f"{words}, after {aim.approvals} approval(s)" if aim.approvals else words


def _change(
    kind: Kind,
    aim: Aim,
    now: Standing,
    because: str,
    *,
    ends: str | None = None,
    notes: list[str] | None = None,
    advice: str = "",
) -> Change:
    settings = [] if now.champion is None or aim.digest is None else differing(now.settings, aim.settings)
    return Change(
        kind=kind,
        because=because,
        champion=now.champion,
        digest=aim.digest,
        ends=ends,
        settings=settings,
        notes=notes or [],
        advice=advice,
    )


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]
