"""Does a signal lead to a retraining? Pure: a signal, what happened before, and the rules give an answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from flyball.core.durations import format_duration, parse_duration
from flyball.core.project import Project

MONTH = timedelta(days=30)
Answer = Literal["act", "ask", "wait", "ignore"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a model may be trained again. Durations and the month (30 days) run on the model's own clock.

    is_external: a scheduler of the team's own decides when, so that no signal starts anything.
    """

    on: tuple[str, ...]
    cooldown: timedelta
    max_per_month: int
    approvals: int
    is_external: bool = False


class SignalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy looks at in a signal; `at` is model time."""

    kind: str
    at: datetime
    cause: str
    confirmed: bool
    may_retrain: bool


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the model before: decision moments (model time) of its retrainings, oldest first."""

    retrained_at: tuple[datetime, ...] = ()
    is_training: bool = False
    is_rolling_out: bool = False
    is_held: bool = False
    has_champion: bool = True


class PolicyDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The policy's answer. `not_before` (model time) is set where waiting alone will do."""

    answer: Answer
    because: str
    not_before: datetime | None = None


def policy_of(project: Project) -> Policy:
    """The policy that a project's [retrain] section asks for, and its `schedules`."""
    section = project.retrain
    return Policy(
        on=tuple(section.on),
        cooldown=parse_duration(section.cooldown),
        max_per_month=section.max_per_month,
        approvals=section.approvals,
        is_external=project.schedules == "external",
    )


def decide(signal: SignalFacts, history: History, policy: Policy) -> PolicyDecision:
    """Whether this signal leads to a retraining: act, ask people first, wait, or ignore; always with the reason."""
    if refusal := _refuse(signal, history, policy):
        return refusal
    if policy.is_external:
        because = 'schedules = "external": `flyball retrain` is yours to call'
        return PolicyDecision(answer="wait", because=because)
    if waiting := _wait(signal, history, policy):
        return waiting
    why = f"a confirmed {signal.kind} signal; cause: {signal.cause}"
    if policy.approvals > 0:
        return PolicyDecision(answer="ask", because=f"{why}; {policy.approvals} approval(s) needed")
    return PolicyDecision(answer="act", because=why)


def _refuse(signal: SignalFacts, history: History, policy: Policy) -> PolicyDecision | None:
    def ignore(because: str) -> PolicyDecision:
        return PolicyDecision(answer="ignore", because=because)

    if signal.cause == "broken-data":
        return ignore("what comes in is broken: hold, nothing is trained on it")
    if not _is_asked_for(signal.kind, policy.on):
        listed = ", ".join(policy.on) or "nothing"
        return ignore(f"[retrain].on names {listed}, not {signal.kind}")
    if not signal.may_retrain:
        return ignore(f"training again would not help: the cause is {signal.cause}")
    if not history.has_champion:
        return ignore("there is no champion whose training could be repeated")
    return None


def _wait(signal: SignalFacts, history: History, policy: Policy) -> PolicyDecision | None:
    def wait(because: str, until: datetime | None = None) -> PolicyDecision:
        return PolicyDecision(answer="wait", because=because, not_before=until)

    if history.is_held:
        return wait("an incident of broken data is open: nothing is trained until it is over")
    if not signal.confirmed:
        return wait("not confirmed yet: one window is not enough")
    if history.is_training:
        return wait("a retraining is under way")
    if history.is_rolling_out:
        return wait("a candidate is being rolled out")
    last = history.retrained_at[-1] if history.retrained_at else None
    if last is not None and signal.at < last + policy.cooldown:
        until = last + policy.cooldown
        return wait(f"cooldown of {format_duration(policy.cooldown)}: not before {until:%Y-%m-%d}", until)
    recent = [at for at in history.retrained_at if at > signal.at - MONTH]
    if len(recent) >= policy.max_per_month:
        if policy.max_per_month == 0:
            return wait("max_per_month is 0: this model is never retrained by itself")
        until = recent[-policy.max_per_month] + MONTH
        return wait(
            f"the budget of {policy.max_per_month} a month is used up: not before {until:%Y-%m-%d}", until
        )
    return None


def _is_asked_for(kind: str, on: tuple[str, ...]) -> bool:
    """Drift of features and of predictions both go by the name `drift`."""
    name = "drift" if kind == "prediction" else kind
    return name in on
