from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from flyball.retraining.policy import History, Policy, SignalFacts, decide, policy_of

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
POLICY = Policy(on=("performance", "drift"), cooldown=timedelta(days=28), max_per_month=2, approvals=0)


def signal(**changes) -> SignalFacts:
    given = {
        "kind": "performance",
        "at": NOON,
        "cause": "concept-drift",
        "confirmed": True,
        "may_retrain": True,
    }
    return SignalFacts(**{**given, **changes})


def days_before(*days: int) -> tuple[datetime, ...]:
    return tuple(sorted(NOON - timedelta(days=count) for count in days))


def test_a_confirmed_signal_with_nothing_against_it_acts_and_names_the_cause():
    decision = decide(signal(), History(), POLICY)
    assert decision.answer == "act"
    assert "concept-drift" in decision.because


def test_broken_data_never_trains_whatever_else_is_true():
    for kind in ("performance", "drift", "contract"):
        decision = decide(signal(kind=kind, cause="broken-data"), History(), POLICY)
        assert decision.answer == "ignore"
        assert "broken" in decision.because


def test_an_open_hold_stops_signals_of_other_problems_too():
    assert decide(signal(), History(is_held=True), POLICY).answer == "wait"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "operational"}, "operational"),
        ({"kind": "contract"}, "contract"),
        ({"may_retrain": False, "cause": "serving-path"}, "serving-path"),
    ],
)
def test_signals_that_training_can_not_answer_are_ignored_with_the_reason(changes, word):
    decision = decide(signal(**changes), History(), POLICY)
    assert decision.answer == "ignore"
    assert word in decision.because


def test_drift_of_predictions_goes_by_the_name_of_drift():
    assert decide(signal(kind="prediction"), History(), POLICY).answer == "act"
    only_performance = Policy(on=("performance",), cooldown=timedelta(0), max_per_month=4, approvals=0)
    assert decide(signal(kind="prediction"), History(), only_performance).answer == "ignore"


def test_one_unconfirmed_window_waits():
    assert decide(signal(confirmed=False), History(), POLICY).answer == "wait"


def test_the_cooldown_ends_on_the_models_own_clock_to_the_moment():
    early = decide(signal(), History(retrained_at=days_before(27)), POLICY)
    assert early.answer == "wait"
    assert early.not_before == NOON + timedelta(days=1)
    assert decide(signal(), History(retrained_at=days_before(28)), POLICY).answer == "act"


def test_the_budget_counts_thirty_days_and_says_when_it_opens_again():
    quick = Policy(on=("performance",), cooldown=timedelta(days=1), max_per_month=2, approvals=0)
    full = decide(signal(), History(retrained_at=days_before(29, 10)), quick)
    assert full.answer == "wait"
    assert full.not_before == NOON + timedelta(days=1)
    assert decide(signal(), History(retrained_at=days_before(30, 10)), quick).answer == "act"


def test_a_budget_of_nothing_never_trains():
    never = Policy(on=("performance",), cooldown=timedelta(0), max_per_month=0, approvals=0)
    decision = decide(signal(), History(), never)
    assert decision.answer == "wait"
    assert decision.not_before is None


@pytest.mark.parametrize("busy", [{"is_training": True}, {"is_rolling_out": True}])
def test_one_candidate_at_a_time(busy):
    assert decide(signal(), History(**busy), POLICY).answer == "wait"


def test_approvals_turn_acting_into_asking(loop_project):
    asking = policy_of(loop_project(retrain={"on": ["performance"], "approvals": 1, "cooldown": "1d"}))
    assert decide(signal(), History(), asking).answer == "ask"


def test_external_schedules_leave_every_retraining_to_whoever_calls_it(loop_project):
    policy = policy_of(msgspec.structs.replace(loop_project(), schedules="external"))
    decision = decide(signal(), History(), policy)
    assert decision.answer == "wait" and decision.not_before is None
    assert "`flyball retrain` is yours to call" in decision.because
    assert "broken" in decide(signal(cause="broken-data"), History(), policy).because


def test_a_model_without_champion_is_not_retrained():
    assert decide(signal(), History(has_champion=False), POLICY).answer == "ignore"
