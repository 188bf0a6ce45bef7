"""What is watched of a model and when: windows of event time and the moments at which they are judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from flyball.core.durations import find_confirmation, parse_duration, parse_rate
from flyball.core.project import Project, SloSection, Task

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Part = Literal["whole", "inputs", "outcomes"]


class MonitorPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that monitoring acts on, read once from a project.

    `alarms` false alarms are allowed per `period`, over everything watched of the model together. A retraining
    needs `confirm_needed` bad windows of the last `confirm_of`.
    """

    model: str
    task: Task
    target: str
    positive: str | int | bool | None
    window: timedelta
    outcome_delay: timedelta
    min_rows: int
    alarms: float
    period: timedelta
    confirm_needed: int = 2
    confirm_of: int = 3
    slo: tuple[SloSection, ...] = ()

    @property
    def inputs_delay(self) -> timedelta:
        """How long after a window's end its inputs are judged: with the outcomes where these are due within one
        more window, else at once, because a broken feature should not wait a month for the truth."""
        return self.outcome_delay if self.outcome_delay <= self.window else timedelta(0)


class Look(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One judgement that is due: at which moment of model time, on which window, on which part of it."""

    at: datetime
    start: datetime
    end: datetime
    part: Part


def plan_of(project: Project) -> MonitorPlan:
    """The monitoring plan that a project asks for."""
    alarms, period = parse_rate(project.monitor.false_alarms)
    needed, of = _confirmation(project.retrain.on)
    return MonitorPlan(
        model=project.model.name,
        task=project.model.task,
        target=project.model.target,
        positive=project.model.positive,
        window=parse_duration(project.monitor.window),
        outcome_delay=parse_duration(project.data.outcome_delay),
        min_rows=project.monitor.min_rows,
        alarms=alarms,
        period=period,
        confirm_needed=needed,
        confirm_of=of,
        slo=tuple(project.monitor.slo),
    )


def window_start(at: datetime, window: timedelta) -> datetime:
    """Where the window that holds a moment begins: a multiple of the window's length since the Unix epoch.

    >>> window_start(datetime(2026, 11, 21, 5, tzinfo=UTC), timedelta(days=7)).isoformat()
    '2026-11-19T00:00:00+00:00'
    """
    return at - (at - _EPOCH) % window


def list_looks(plan: MonitorPlan, start: datetime, *, inputs_done: bool = False) -> list[Look]:
    """The judgements that one window needs, in order. `inputs_done`: leave out what is judged already."""
    end = start + plan.window
    due = end + plan.outcome_delay
    if plan.inputs_delay == plan.outcome_delay:
        return [Look(at=due, start=start, end=end, part="whole")]
    looks = [Look(at=end + plan.inputs_delay, start=start, end=end, part="inputs")] if not inputs_done else []
    return [*looks, Look(at=due, start=start, end=end, part="outcomes")]


def due_looks(plan: MonitorPlan, next_start: datetime, waiting: list[datetime], now: datetime) -> list[Look]:
    """Every judgement due at `now`, in the order of the moments they belong to.

    next_start: start of the first window of which nothing is judged; waiting: starts of windows whose inputs are
    judged and whose outcomes are not.
    """
    looks = [look for start in waiting for look in list_looks(plan, start, inputs_done=True)]
    start = next_start
    while start + plan.window + plan.inputs_delay <= now:
        looks += list_looks(plan, start)
        start += plan.window
    return sorted(
        (look for look in looks if look.at <= now), key=lambda look: (look.at, look.start, look.part)
    )


def next_moment(plan: MonitorPlan, next_start: datetime, waiting: list[datetime]) -> datetime:
    """The moment of the first judgement that is still to come, or late."""
    looks = list_looks(plan, next_start)
    looks += [look for start in waiting for look in list_looks(plan, start, inputs_done=True)]
    return min(look.at for look in looks)


def next_start(plan: MonitorPlan, first: datetime, last_end: datetime | None) -> datetime:
    """Where the next window begins: at the first prediction's, then behind the last judged one, always aligned."""
    if last_end is None:
        return window_start(first, plan.window)
    aligned = window_start(last_end, plan.window)
    return aligned if aligned == last_end else aligned + plan.window


def _confirmation(on: list[str]) -> tuple[int, int]:
    """The rule `2 of 3 windows` as it stands in [retrain].on; two of three where it does not."""
    return next((rule for words in on if (rule := find_confirmation(words)) is not None), (2, 3))
