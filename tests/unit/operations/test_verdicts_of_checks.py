"""What `flyball monitor` makes of a model's windows, alarms and incidents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from flyball_tests_control import open_home
from flyball_tests_loop import BEGIN, MODEL, LoopHome

from flyball.core.values import Actor
from flyball.governance.actors import SYSTEM
from flyball.governance.events import list_events
from flyball.governance.journal import Change, record
from flyball.monitoring.asked import ASKED, is_answered
from flyball.monitoring.windows import Window, save_window
from flyball.operations.monitoring import check_now, describe_checks

PERSON = Actor("grace")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Any]:
    """A home with a model in service, of which no window was judged yet."""
    with open_home(tmp_path) as app:
        loop = LoopHome(app.backends.database, app.backends.blobs)
        loop.deploy(loop.register())
        yield SimpleNamespace(backends=app.backends, loop=loop)


def judge_window(home: Any, week: int, rows: int, *, is_enough: bool) -> None:
    start, end = BEGIN + timedelta(weeks=week), BEGIN + timedelta(weeks=week + 1)
    window = Window(
        model=MODEL, start=start, end=end, state="complete", decided_at=end, analysed_at=home.loop.now,
        row_count=rows, statistics={"is_enough": is_enough},
    )  # fmt: skip
    with home.backends.database.write() as conn:
        save_window(conn, window)


def verdict(home: Any, since: dict[str, int] | None = None) -> tuple[str, str]:
    (found,) = describe_checks(home.backends, MODEL, since)
    return found["verdict"], found["because"]


def test_too_few_rows_are_no_all_clear(home: Any):
    assert verdict(home) == ("not enough rows", "no window has been judged yet")
    judge_window(home, 0, 500, is_enough=True)
    assert verdict(home) == ("nothing found", "the newest window has 500 rows and no check alarms")
    judge_window(home, 1, 12, is_enough=False)
    assert verdict(home) == ("not enough rows", "the newest window has 12 rows, too few to judge it")


def test_an_alarm_counts_while_its_incident_is_open_and_for_whoever_asked_before_it_was_raised(home: Any):
    judge_window(home, 0, 500, is_enough=True)
    with home.backends.database.write() as conn:
        told = {"actor": SYSTEM, "subject": f"model:{MODEL}", "facts": {"model": MODEL}}
        raised = record(conn, Change(action="signal.raised", event="signal.raised", **told), home.loop.now)
    assert verdict(home, {MODEL: raised.number - 1})[0] == "alarm"
    assert verdict(home, {MODEL: raised.number})[0] == verdict(home)[0] == "nothing found"
    home.loop.open_change(BEGIN)
    assert verdict(home) == ("alarm", "an incident is open: error grew")


def test_who_calls_for_a_check_asks_for_windows_where_schedules_are_external(home: Any, loop_project: Any):
    def count_asked() -> int:
        with home.backends.database.read() as conn:
            return len(list_events(conn, kinds=[ASKED], model=MODEL))

    check_now(home.backends, MODEL, PERSON)
    assert count_asked() == 0
    external = msgspec.structs.replace(loop_project(rollout={"strategy": "immediate"}), schedules="external")
    home.loop.deploy(home.loop.register(external))
    (found,) = check_now(home.backends, MODEL, PERSON)
    assert (found["schedules"], count_asked()) == ("external", 1)
    with home.backends.database.read() as conn:
        assert is_answered(conn, list_events(conn, kinds=[ASKED], model=MODEL)[0].number)
