from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flyball.core.project import Project
from flyball.monitoring.plan import (
    due_looks,
    list_looks,
    next_moment,
    next_start,
    plan_of,
    window_start,
)

THURSDAY = datetime(2012, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def plan(loop_project, *, delay: str = "1d", window: str = "7d", on: list[str] | None = None):
    project: Project = loop_project(
        data={"outcome_delay": delay}, monitor={"window": window}, retrain={"on": on or ["performance"]}
    )
    return plan_of(project)


def test_windows_begin_at_multiples_of_their_length_since_the_epoch():
    for hours in (0, 1, 1000, 123_457):
        moment = THURSDAY + timedelta(hours=hours)
        for window in (timedelta(days=7), timedelta(days=1), timedelta(hours=6)):
            expected = moment.timestamp() // window.total_seconds() * window.total_seconds()
            assert window_start(moment, window).timestamp() == expected


def test_inputs_wait_for_outcomes_that_are_due_within_one_more_window(loop_project):
    looks = list_looks(plan(loop_project), THURSDAY)
    assert [(look.part, look.at) for look in looks] == [("whole", THURSDAY + 8 * DAY)]


def test_inputs_do_not_wait_a_month_for_the_truth(loop_project):
    looks = list_looks(plan(loop_project, delay="30d", window="1d"), THURSDAY)
    assert [(look.part, look.at) for look in looks] == [
        ("inputs", THURSDAY + DAY),
        ("outcomes", THURSDAY + 31 * DAY),
    ]


def test_what_is_due_does_not_depend_on_how_late_one_asks(loop_project):
    settings = plan(loop_project, delay="3d", window="1d")
    now = THURSDAY + 20 * DAY
    at_once = due_looks(settings, THURSDAY, [], now)
    step_by_step = []
    start, waiting = THURSDAY, []
    for hour in range(20 * 24 + 1):
        for look in due_looks(settings, start, waiting, THURSDAY + timedelta(hours=hour)):
            step_by_step.append(look)
            if look.part == "inputs":
                start, waiting = look.end, [*waiting, look.start]
            else:
                waiting = [kept for kept in waiting if kept != look.start]
    assert step_by_step == at_once
    assert {look.part for look in at_once} == {"inputs", "outcomes"}
    assert all(look.at <= now for look in at_once)


def test_the_next_moment_is_that_of_the_oldest_open_judgement(loop_project):
    settings = plan(loop_project, delay="30d", window="1d")
    assert next_moment(settings, THURSDAY, []) == THURSDAY + DAY
    assert next_moment(settings, THURSDAY + 40 * DAY, [THURSDAY]) == THURSDAY + 31 * DAY


def test_another_window_length_begins_behind_what_was_judged(loop_project):
    weekly = plan(loop_project)
    assert next_start(weekly, THURSDAY + 2 * DAY, None) == THURSDAY
    assert next_start(weekly, THURSDAY, THURSDAY + 7 * DAY) == THURSDAY + 7 * DAY
    assert next_start(weekly, THURSDAY, THURSDAY + 9 * DAY) == THURSDAY + 14 * DAY


@pytest.mark.parametrize(("on", "rule"), [(["drift"], (2, 3)), (["drift", "3 of 4 windows"], (3, 4))])
def test_the_confirmation_rule_stands_in_the_retrain_section(loop_project, on, rule):
    settings = plan(loop_project, on=on)
    assert (settings.confirm_needed, settings.confirm_of) == rule
