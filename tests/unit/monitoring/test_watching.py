from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from flyball.governance.events import list_events
from flyball.governance.verify import verify
from flyball.monitoring.incidents import find_open_incident, list_entries, list_incidents
from flyball.monitoring.signals import list_signals
from flyball.monitoring.windows import list_held, list_windows

MODEL = "bikes"
USUAL = {"false_alarms": "1 per 30d"}
TIGHT = {"false_alarms": "1 per 365d"}


def windows(watcher):
    with watcher.home.database.read() as conn:
        return list_windows(conn, MODEL)


def incidents(watcher):
    with watcher.home.database.read() as conn:
        return list_incidents(conn, MODEL)


@pytest.fixture
def budgeted(quick_loop_home, town, make_watcher):
    """Weekly windows under the budget of the example: one false alarm in about four weeks is allowed."""
    return make_watcher(quick_loop_home, {1: town.standard()}, monitor=USUAL)


@pytest.fixture
def watcher(quick_loop_home, town, make_watcher):
    """So tight a budget that half a year of training allows no alarm by chance: what alarms is confirmed or a fact."""
    return make_watcher(quick_loop_home, {1: town.standard()}, monitor=TIGHT)


def calm(watcher, town, count=1, **options):
    return [watcher.see(town.week(watcher.start, **options)) for _ in range(count)]


def test_a_calm_year_raises_no_more_than_its_budget(budgeted, town):
    watcher = budgeted
    raised = calm(watcher, town, 30)
    # 1 per 30 days is 7 in 30 weeks; more than 13 would happen once in a hundred such years.
    assert sum(1 for signals in raised if signals) <= 13
    kept = windows(watcher)
    assert len(kept) == 30
    assert all(window.labelled_count == 168 and window.state == "complete" for window in kept)
    assert kept[0].loss == pytest.approx(8, abs=2)
    assert kept[0].reference_loss == pytest.approx(8, abs=1)


def test_a_worse_world_is_confirmed_by_two_of_three_windows_and_named(budgeted, town):
    watcher = budgeted
    first = watcher.see(town.week(watcher.start, shift=20))
    second = watcher.see(town.week(watcher.start, shift=20))
    first = [signal for signal in first if signal.kind == "performance"]
    assert not first[0].confirmed
    (signal,) = [signal for signal in second if signal.kind == "performance"]
    assert signal.confirmed
    assert signal.cause == "concept-drift"
    assert "too low" in signal.sentence
    assert signal.statistic > signal.threshold
    assert signal.incident_id == first[0].incident_id


def test_one_incident_gathers_the_signals_of_one_problem(watcher, town):
    calm(watcher, town, 3)
    for _ in range(4):
        watcher.see(town.week(watcher.start, shift=25))
    (incident,) = [found for found in incidents(watcher) if found.state == "open"]
    with watcher.home.database.read() as conn:
        raised = list_signals(conn, MODEL, incident_id=incident.id)
        lines = [entry for entry in list_entries(conn, incident.id) if entry.kind == "signal"]
        told = list_events(conn, kinds=["signal.raised"])
    assert len(raised) == len(lines) == 3
    assert incident.opened_at == windows(watcher)[4].decided_at
    assert incident.facts["since"] == "2012-03-22T00:00:00Z"
    assert all(
        event.facts["incident_id"] == incident.id for event in told if event.facts["kind"] == "performance"
    )


def test_an_incident_is_resolved_by_the_recovered_loss_and_not_before(watcher, town):
    calm(watcher, town, 3)
    for _ in range(3):
        watcher.see(town.week(watcher.start, shift=25))
    watcher.see(town.week(watcher.start))
    (incident,) = incidents(watcher)
    assert incident.state == "open"  # one calm week under the same version may be chance
    watcher.see(town.week(watcher.start))
    watcher.see(town.week(watcher.start))
    (incident,) = incidents(watcher)
    assert incident.state == "resolved"
    with watcher.home.database.read() as conn:
        result = [entry for entry in list_entries(conn, incident.id) if entry.kind == "result"]
    assert "the loss recovered" in result[0].text
    assert windows(watcher)[-1].healthy
    assert not windows(watcher)[4].healthy


def test_a_new_champion_closes_it_with_its_first_good_window(quick_loop_home, town, make_watcher):
    standards = {1: town.standard(), 2: town.standard()}
    watcher = make_watcher(quick_loop_home, standards, monitor=TIGHT)
    calm(watcher, town, 3)
    for _ in range(2):
        watcher.see(town.week(watcher.start, shift=25))
    watcher.see(town.week(watcher.start, version=2))
    (incident,) = incidents(watcher)
    assert incident.state == "resolved"


def test_a_wrong_unit_holds_training_and_is_no_reason_to_retrain(watcher, town):
    calm(watcher, town, 3)
    raised = watcher.see(town.week(watcher.start, warmth_factor=10))
    assert {signal.cause for signal in raised} == {"broken-data"}
    contract = next(signal for signal in raised if signal.kind == "contract")
    assert contract.feature == "warmth"
    assert "10 times" in contract.sentence
    assert contract.p_value is None
    with watcher.home.database.read() as conn:
        incident = find_open_incident(conn, MODEL, "data")
        assert find_open_incident(conn, MODEL, "change") is None
        held = list_held(conn, MODEL)
        events = list_events(conn, kinds=["signal.raised"])
    assert incident.hold
    assert incident.cause == "broken-data"
    assert held == [(watcher.start - timedelta(days=7), watcher.start)]
    assert not any(event.facts["may_retrain"] for event in events)


def test_the_hold_ends_when_the_data_are_whole_again_and_its_rows_stay_out(watcher, town):
    calm(watcher, town, 3)
    watcher.see(town.week(watcher.start, warmth_factor=10))
    watcher.see(town.week(watcher.start))
    (incident,) = incidents(watcher)
    assert (incident.state, incident.hold) == ("resolved", False)
    assert [window.held for window in windows(watcher)] == [False, False, False, True, False]


def test_broken_weeks_neither_confirm_nor_enter_the_past(watcher, town):
    calm(watcher, town, 3)
    watcher.see(town.week(watcher.start, warmth_factor=10))
    assert watcher.see(town.week(watcher.start, shift=20)) == []
    (signal,) = watcher.see(town.week(watcher.start, shift=20))
    assert signal.confirmed
    assert "1 of the last" not in signal.facts["statistic"]


def test_too_few_rows_say_nothing_and_change_nothing(watcher, town):
    calm(watcher, town, 3)
    for _ in range(2):
        watcher.see(town.week(watcher.start, shift=25))
    before = incidents(watcher)
    assert watcher.see(town.week(watcher.start).head(50)) == []
    assert watcher.see(town.week(watcher.start).head(0)) == []
    assert incidents(watcher) == before
    last = windows(watcher)[-1]
    assert (last.row_count, last.healthy, last.statistics["is_enough"]) == (0, False, False)


def test_outcomes_that_are_not_known_yet_are_not_guessed(watcher, town):
    rows = town.week(watcher.start, shift=50).with_columns(outcome=pl.lit(None, dtype=pl.Float64))
    watcher.see(rows)
    (window,) = windows(watcher)
    assert window.loss is None
    assert window.labelled_count == 0
    assert window.statistics["outcomes"] is None


def test_a_window_judged_twice_is_judged_once(watcher, town):
    calm(watcher, town, 2)
    frame = town.week(watcher.start, shift=25)
    watcher.see(frame)
    with watcher.home.database.read() as conn:
        before = len(list_events(conn, limit=1000))
    watcher.week -= 1
    assert watcher.see(frame) == []
    with watcher.home.database.read() as conn:
        assert len(list_events(conn, limit=1000)) == before
        assert verify(conn).ok


def test_failed_answers_are_a_matter_of_service_and_no_reason_to_train(quick_loop_home, town, make_watcher):
    watcher = make_watcher(
        quick_loop_home,
        {1: town.standard()},
        monitor={"slo": [{"metric": "error_rate", "max": 0.01}, {"metric": "latency_p99_ms", "max": 50}]},
    )
    rows = town.week(watcher.start).with_columns(
        error=pl.when(pl.col("at").dt.hour() < 3).then(pl.lit("timeout")), prediction=pl.col("prediction")
    )
    (signal,) = [found for found in watcher.see(rows) if found.kind == "operational"]
    assert signal.feature == "error_rate"
    assert "objective" in signal.sentence
    assert signal.cause == "serving-path"
    with watcher.home.database.read() as conn:
        assert find_open_incident(conn, MODEL, "service") is not None
    calm(watcher, town)
    with watcher.home.database.read() as conn:
        assert find_open_incident(conn, MODEL, "service") is None


def test_requests_that_break_the_contract_are_told_as_a_fact(watcher, town):
    calm(watcher, town, 2)
    rows = town.week(watcher.start).with_columns(
        flags=pl.when(pl.col("at").dt.hour() < 4)
        .then(pl.lit(["range:hour"]))
        .otherwise(pl.lit([], dtype=pl.List(pl.String)))
    )
    (signal,) = [found for found in watcher.see(rows) if found.kind == "contract"]
    assert "range:hour in 28 rows" in signal.sentence
    assert signal.p_value is None
    with watcher.home.database.read() as conn:
        assert not find_open_incident(conn, MODEL, "data").hold


def test_a_wrong_unit_does_not_wait_a_month_for_the_truth(quick_loop_home, town, make_watcher):
    watcher = make_watcher(
        quick_loop_home, {1: town.standard()}, monitor=TIGHT, data={"outcome_delay": "30d"}
    )
    rows = town.week(watcher.start, warmth_factor=10)
    raised = watcher.see(rows, parts=("inputs",))
    assert {signal.kind for signal in raised} == {"contract"}
    assert raised[0].at == watcher.start
    (window,) = windows(watcher)
    assert (window.state, window.held, window.loss) == ("inputs", True, None)
    watcher.week -= 1
    assert {signal.kind for signal in watcher.see(rows, parts=("outcomes",))} <= {"performance"}
    (window,) = windows(watcher)
    assert (window.state, window.held) == ("complete", True)
    assert window.decided_at == window.end + timedelta(days=30)


def test_outcomes_that_come_late_are_judged_without_judging_the_inputs_again(
    quick_loop_home, town, make_watcher
):
    watcher = make_watcher(
        quick_loop_home, {1: town.standard()}, monitor=TIGHT, data={"outcome_delay": "30d"}
    )
    weeks = [town.week(watcher.start + timedelta(days=7 * week), shift=25) for week in range(3)]
    for rows in weeks:
        assert watcher.see(rows, parts=("inputs",)) == []
    watcher.week = 0
    raised = [watcher.see(rows, parts=("outcomes",)) for rows in weeks]
    assert [[signal.confirmed for signal in signals] for signals in raised] == [[], [True], [True]]
    assert all(window.state == "complete" and window.loss for window in windows(watcher))
