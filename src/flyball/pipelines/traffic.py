"""Whether windows and rollout steps can be filled by the traffic there is: told before anybody waits for them."""

from __future__ import annotations

import math
from datetime import timedelta

from flyball.core.durations import format_duration, parse_duration
from flyball.core.project import Project

LONG_DAYS = 30.0
_DAY = timedelta(days=1)


def traffic_notes(project: Project, rows_per_day: float) -> tuple[list[str], list[str]]:
    """Notes and warnings on how long windows and rollout take at this traffic.

    rows_per_day: requests a day that are expected, above 0.
    """
    notes, warnings = [], []
    window = parse_duration(project.monitor.window)
    per_window = rows_per_day * (window / _DAY)
    shown = format_duration(window)
    notes.append(f"a window of {shown} holds about {per_window:.0f} rows at {rows_per_day:.0f} a day")
    if per_window < project.monitor.min_rows:
        warnings.append(
            f"monitor.min_rows is {project.monitor.min_rows}, but a window of {shown} holds about "
            f"{per_window:.0f} rows: no window would ever be judged; lengthen monitor.window or lower min_rows"
        )
    delay = parse_duration(project.data.outcome_delay)
    wait = (window + delay) / _DAY
    notes.append(f"a window's performance is known {wait:.3g} days after it begins")
    if wait > LONG_DAYS:
        warnings.append(f"a window and its outcomes take {wait:.0f} days: a change is seen that late at best")
    step_notes, step_warnings = _steps(project, rows_per_day)
    return notes + step_notes, warnings + step_warnings


def _steps(project: Project, rows_per_day: float) -> tuple[list[str], list[str]]:
    rollout = project.rollout
    if rollout.strategy == "shadow":
        days = rollout.min_outcome_days + parse_duration(project.data.outcome_delay) / _DAY
        return _judged("a shadow rollout", days, parse_duration(rollout.max_duration) / _DAY)
    if rollout.strategy != "canary":
        return [], []
    partial = [share for share in rollout.steps if share < 1]
    days = sum(rollout.min_requests / (rows_per_day * share) for share in partial)
    notes, warnings = _judged("a canary rollout", days, parse_duration(rollout.max_duration) / _DAY)
    least = _least_requests(project)
    if least is not None:
        needed = least / (rows_per_day * max(partial, default=1))
        notes.append(
            f"its guards need about {least:,} requests on the candidate: {needed:.3g} days at the largest partial step"
        )
    return notes, warnings


def _judged(what: str, days: float, limit_days: float) -> tuple[list[str], list[str]]:
    notes = [f"{what} takes at least {days:.3g} days"]
    if days > limit_days:
        return notes, [
            f"{what} needs {days:.3g} days, but rollout.max_duration is {limit_days:.3g}: it would end undecided"
        ]
    if days > LONG_DAYS:
        return notes, [f"{what} takes {days:.0f} days; fewer requests or longer steps decide sooner"]
    return notes, []


def _least_requests(project: Project) -> int | None:
    """Requests without any fault that show an error rate within the smallest margin: log(1 / alpha) / margin."""
    margins = [
        guard.max_increase
        for guard in project.rollout.guards
        if guard.metric in ("error_rate", "contract_violations") and guard.required and guard.max_increase
    ]
    if not margins:
        return None
    return math.ceil(math.log(1 / (1 - project.rollout.confidence)) / min(margins))
