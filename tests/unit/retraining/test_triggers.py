from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flyball.core.clock import FixedClock
from flyball.core.errors import BadInput, Conflict, KeyInUse, NoChampion, Refused
from flyball.core.values import Actor
from flyball.governance.events import list_events
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import list_entries, open_incident
from flyball.monitoring.signals import Signal, save_signal, signal_id
from flyball.monitoring.windows import list_windows
from flyball.retraining import retrainings, triggers
from flyball.retraining.due import busy
from flyball.retraining.manual import retrain_now
from flyball.retraining.retrainings import list_retrainings

MODEL = "bikes"
WEEK = timedelta(days=7)
FIRST = datetime(2012, 3, 1, tzinfo=UTC)


def opened(home, *, problem="change", hold=False) -> str:
    with home.database.write() as conn:
        return open_incident(
            conn,
            model=MODEL,
            problem=problem,
            cause="concept-drift",
            title="the error grew",
            hold=hold,
            facts={},
            at=FIRST,
            now=home.now,
        ).id


def raise_signal(
    home, week: int, incident: str | None, *, kind="performance", feature=None, **changes
) -> Signal:
    start = FIRST + week * WEEK
    given = {
        "cause": "concept-drift",
        "confirmed": True,
        "may_retrain": True,
        **changes,
    }
    signal = Signal(
        id=signal_id(MODEL, start, kind, feature),
        model=MODEL,
        kind=kind,
        window_start=start,
        window_end=start + WEEK,
        at=start + WEEK + timedelta(days=1),
        raised_at=home.now,
        statistic=70.0,
        threshold=50.0,
        p_value=0.01,
        cause=given["cause"],
        feature=feature,
        sentence="the error grew",
        facts={},
        incident_id=incident,
        confirmed=given["confirmed"],
    )
    facts = {"model": MODEL, "signal_id": signal.id, "may_retrain": given["may_retrain"]}
    with home.database.write() as conn:
        save_signal(conn, signal)
        change = Change(
            actor=Actor("watch", "automation"),
            action="signal.raised",
            subject=signal.id,
            facts=facts,
            event="signal.raised",
        )
        record(conn, change, home.now)
    return signal


def consume(home) -> int:
    count = 0
    while handled := triggers.consume(home.database, FixedClock(home.now)):
        count += handled
    return count


def run_finished(home, state: str, version: int | None, **facts) -> None:
    with home.database.write() as conn:
        (retraining,) = list_retrainings(conn, MODEL, states=("wanted", "running"))
        run_id = "run_" + "a" * 32
        retrainings.change(conn, retraining.id, run_id=run_id, state="running")
        told = {"model": MODEL, "run_id": run_id, "state": state, "version": version, **facts}
        change = Change(
            actor=Actor("ada"), action="run.finished", subject=run_id, facts=told, event="run.finished"
        )
        record(conn, change, home.now)


@pytest.mark.parametrize("alarms", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_many_alarms_about_one_window_ask_for_one_retraining(quick_loop_home, alarms: int):
    home = quick_loop_home
    home.deploy(home.register())
    incident = opened(home)
    for number in range(alarms):
        raise_signal(home, 0, incident, kind="drift", feature=f"f{number}", cause="covariate-shift")
    raise_signal(home, 0, incident)
    assert consume(home) == alarms + 1
    with home.database.read() as conn:
        (retraining,) = list_retrainings(conn, MODEL)
        assert busy(conn, MODEL)
        decided = [e for e in list_entries(conn, incident) if "asks for a retraining" in e.text]
    assert len(decided) == 1
    assert (retraining.state, retraining.champion) == ("wanted", 1)
    assert retraining.decided_at == FIRST + WEEK + timedelta(days=1)
    assert retraining.rows_until == FIRST + WEEK


def test_each_reason_to_wait_is_told_once_in_the_incident(loop_home):
    loop_home.deploy(loop_home.register())
    incident = opened(loop_home)
    for week in range(3):
        raise_signal(loop_home, week, incident, confirmed=False)
    consume(loop_home)
    with loop_home.database.read() as conn:
        told = [entry.text for entry in list_entries(conn, incident)]
        assert list_retrainings(conn, MODEL) == []
        assert len(list_events(conn, kinds=["retraining.declined"])) == 1
    assert told == ["no retraining: not confirmed yet: one window is not enough"]


def test_a_gated_version_becomes_a_ready_candidate_with_its_reason(loop_home):
    loop_home.deploy(loop_home.register())
    incident = opened(loop_home)
    signal = raise_signal(loop_home, 0, incident)
    consume(loop_home)
    number = loop_home.register()
    run_finished(loop_home, "registered", number)
    consume(loop_home)
    with loop_home.database.read() as conn:
        (retraining,) = list_retrainings(conn, MODEL)
        (event,) = list_events(conn, kinds=["candidate.ready"])
        assert not busy(conn, MODEL)
    assert (retraining.state, retraining.version) == ("ready", number)
    assert event.facts["version"] == number
    assert event.facts["signal_id"] == signal.id
    assert event.facts["incident_id"] == incident
    assert event.facts["decided_at"] == "2012-03-09T00:00:00Z"


@pytest.mark.parametrize(
    ("state", "version", "ended", "event"),
    [
        ("refused", 2, "refused", "candidate.refused"),
        ("failed", None, "failed", "retraining.failed"),
        ("registered", 1, "kept", "retraining.kept"),
    ],
)
def test_a_run_that_gives_no_candidate_ends_the_retraining_and_says_why(
    quick_loop_home, state, version, ended, event
):
    home = quick_loop_home
    home.deploy(home.register())
    home.register(state="refused")
    incident = opened(home)
    raise_signal(home, 0, incident)
    consume(home)
    run_finished(home, state, version, error={"message": "train raised"} if state == "failed" else None)
    consume(home)
    with home.database.read() as conn:
        (retraining,) = list_retrainings(conn, MODEL)
        assert (retraining.state, bool(retraining.result)) == (ended, True)
        assert len(list_events(conn, kinds=[event])) == 1
        assert list_events(conn, kinds=["candidate.ready"]) == []


def test_what_came_to_nothing_before_training_uses_no_budget(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    incident = opened(home)
    raise_signal(home, 0, incident)
    consume(home)
    run_finished(home, "registered", 1)
    consume(home)
    raise_signal(home, 1, incident)
    consume(home)
    with home.database.read() as conn:
        assert len(list_retrainings(conn, MODEL)) == 2


def test_a_candidate_on_its_way_holds_up_the_next_retraining(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register(loop_project(retrain={"cooldown": "0s"})))
    incident = opened(home)
    raise_signal(home, 0, incident)
    consume(home)
    run_finished(home, "registered", home.register())
    raise_signal(home, 1, incident)
    consume(home)
    with home.database.read() as conn:
        assert len(list_retrainings(conn, MODEL)) == 1
        assert "being rolled out" in list_entries(conn, incident)[-1].text


def test_a_person_may_ask_without_signal_cooldown_or_budget_but_not_on_broken_data(quick_loop_home):
    home = quick_loop_home

    def ask(why="new sensors"):
        with home.database.write() as conn:
            return retrain_now(
                conn, MODEL, actor=Actor("grace"), why=why, now=home.now, model_time=FIRST + WEEK
            )

    with pytest.raises(NoChampion):
        ask()
    home.deploy(home.register())
    with home.database.read() as conn:
        assert list_windows(conn, MODEL) == []
    with pytest.raises(BadInput, match="why"):
        ask(" ")
    asked = ask()
    assert (asked.state, asked.signal_id, asked.rows_until) == ("wanted", None, FIRST + WEEK)
    with pytest.raises(Conflict, match="under way"):
        ask()
    run_finished(home, "failed", None)
    consume(home)
    opened(home, problem="data", hold=True)
    with pytest.raises(Refused, match="broken data"):
        ask()


def test_a_key_is_the_same_retraining_while_it_is_trained_and_afterwards_and_of_no_other_model(loop_home):
    home = loop_home
    home.deploy(home.register())

    def ask(key, model=MODEL, why="nightly"):
        with home.database.write() as conn:
            return retrain_now(
                conn, model, actor=Actor("grace"), why=why, now=home.now, model_time=FIRST + WEEK, key=key
            )

    first = ask("dag/1")
    assert ask("dag/1", why="asked again") == first
    with pytest.raises(Conflict, match="under way"):
        ask("dag/2")
    run_finished(home, "failed", None)
    consume(home)
    opened(home, problem="data", hold=True)
    ended = ask("dag/1")
    assert (ended.id, ended.state) == (first.id, "failed")
    with pytest.raises(KeyInUse, match="asked for a retraining of bikes, not of cars; choose another key"):
        ask("dag/1", model="cars")
    with pytest.raises(BadInput, match="1 to 200 printable"):
        ask("")
    with home.database.read() as conn:
        assert [found.id for found in list_retrainings(conn, MODEL)] == [first.id]


def test_a_hold_stops_retrainings_that_signals_ask_for(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    incident = opened(home)
    opened(home, problem="data", hold=True)
    raise_signal(home, 0, incident)
    consume(home)
    with home.database.read() as conn:
        assert list_retrainings(conn, MODEL) == []
        assert "broken data" in list_entries(conn, incident)[0].text
