"""The rollout's next action, by rules and evidence."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.project import GuardSection, RolloutSection
from flyball.judge.guards import GuardEvidence, GuardRule
from flyball.judge.rollout import RolloutEvidence, RolloutRules, next_action, rules_of
from flyball.judge.sequential.proportions import ArmBlock
from flyball.judge.sequential.quantiles import count_latencies

DAY = 86_400.0
SHADOW = RolloutRules(
    strategy="shadow",
    steps=[0.05, 1.0],
    min_requests=100,
    bake_seconds=0.0,
    max_duration_seconds=29 * DAY,
    guards=[GuardRule(metric="mae", margin=4.0)],
)
CANARY = RolloutRules(
    strategy="canary",
    steps=[0.05, 0.25, 1.0],
    min_requests=200,
    bake_seconds=600.0,
    max_duration_seconds=14 * DAY,
    guards=[GuardRule(metric="error_rate", margin=0.01, kind="proportion")],
)


def shadow_at(days: list[float], **more: object) -> RolloutEvidence:
    known = {
        "step": 0,
        "elapsed_seconds": (len(days) + 1) * DAY,
        "bake_elapsed_seconds": 3600.0,
        "candidate_requests": 24 * len(days),
        "guards": [GuardEvidence(metric="mae", paired=days)] if days else [],
    }
    return RolloutEvidence(**(known | more))


def canary_at(step: int, bad: int, *, units: int = 2000, **more: object) -> RolloutEvidence:
    arms = ArmBlock(champion_units=4000, champion_bad=8, candidate_units=units, candidate_bad=bad)
    known = {
        "step": step,
        "elapsed_seconds": DAY,
        "bake_elapsed_seconds": 900.0,
        "candidate_requests": units,
        "guards": [GuardEvidence(metric="error_rate", blocks=[arms])],
    }
    return RolloutEvidence(**(known | more))


def test_too_little_evidence_waits_and_says_what_is_missing():
    decision = next_action(SHADOW, shadow_at([-10.0, -10.0]))
    assert decision.action == "wait"
    assert "48 of 100 requests" in decision.because
    assert "not decided yet" in decision.because


def test_a_clear_gain_still_waits_for_the_least_outcome_days():
    assert next_action(SHADOW, shadow_at([-16.0] * 6)).action == "wait"
    assert next_action(SHADOW, shadow_at([-16.0] * 7)).action == "promote"


def test_an_equal_candidate_is_promoted_in_two_weeks():
    assert next_action(SHADOW, shadow_at([0.5, -0.5] * 7)).action == "promote"


def test_shown_harm_aborts_at_once():
    decision = next_action(SHADOW, shadow_at([16.0] * 9))
    assert decision.action == "abort"
    assert not decision.undecided
    assert "harm shown" in decision.because


def test_harm_at_weekends_only_is_not_promoted():
    week = [-1.0] * 5 + [32.0, 32.0]
    for days in range(7, 29):
        assert next_action(SHADOW, shadow_at((week * 4)[:days])).action != "promote"


def test_undecided_at_the_end_is_an_abort_said_as_undecided():
    decision = next_action(SHADOW, shadow_at([4.0] * 28))
    assert (decision.action, decision.undecided) == ("abort", True)
    assert "undecided after 29 days" in decision.because


def test_undecided_may_be_held_instead():
    rules = msgspec.structs.replace(SHADOW, on_undecided="hold")
    assert next_action(rules, shadow_at([4.0] * 28)).action == "hold"


def test_no_evidence_is_never_a_promotion_however_long_it_takes():
    decision = next_action(SHADOW, shadow_at([], elapsed_seconds=90 * DAY, candidate_requests=9999))
    assert (decision.action, decision.undecided) == ("abort", True)
    assert decision.guards[0].state == "absent"


def test_a_guard_without_margin_never_promotes():
    rules = msgspec.structs.replace(SHADOW, guards=[GuardRule(metric="mae", margin=None)])
    assert next_action(rules, shadow_at([-16.0] * 20)).action == "wait"


def test_a_canary_advances_when_no_harm_is_shown():
    decision = next_action(CANARY, canary_at(0, 1, units=250))
    assert decision.action == "advance"
    assert "25%" in decision.because


def test_a_canary_waits_for_its_requests_and_its_bake():
    assert next_action(CANARY, canary_at(0, 0, candidate_requests=10)).action == "wait"
    assert next_action(CANARY, canary_at(0, 0, bake_elapsed_seconds=5.0)).action == "wait"


def test_the_last_step_before_full_traffic_needs_not_worse():
    assert next_action(CANARY, canary_at(1, 0, units=250)).action == "wait"
    assert next_action(CANARY, canary_at(1, 4)).action == "promote"


def test_a_failing_canary_is_aborted_at_the_first_step():
    assert next_action(CANARY, canary_at(0, 40, units=50)).action == "abort"


def test_arms_with_wrong_shares_are_held():
    decision = next_action(CANARY, canary_at(1, 4, sample_ratio_log=math.log(5000)))
    assert decision.action == "hold"


def test_immediate_promotes_without_evidence():
    rules = msgspec.structs.replace(CANARY, strategy="immediate")
    assert next_action(rules, canary_at(0, 0, candidate_requests=0)).action == "promote"


def test_blue_green_switches_after_its_requests_without_harm():
    rules = msgspec.structs.replace(CANARY, strategy="blue-green")
    assert next_action(rules, canary_at(0, 0, units=250)).action == "promote"
    assert next_action(rules, canary_at(0, 0, candidate_requests=5)).action == "wait"


def test_a_second_guard_raises_the_bar_for_harm_only():
    guards = [*SHADOW.guards, GuardRule(metric="latency_p99_ms", margin=5.0, kind="latency", required=False)]
    decision = next_action(msgspec.structs.replace(SHADOW, guards=guards), shadow_at([-16.0] * 7))
    assert decision.action == "promote"
    assert decision.guards[0].threshold_harm == pytest.approx(40)
    assert decision.guards[0].threshold_not_worse == pytest.approx(20)


def test_a_slow_candidate_is_harm_by_latency():
    rules = msgspec.structs.replace(
        CANARY, guards=[GuardRule(metric="latency_p50_ms", margin=2.0, kind="latency")]
    )
    slow = GuardEvidence(
        metric="latency_p50_ms",
        champion_latency=count_latencies([5.0] * 400),
        candidate_latency=count_latencies([50.0] * 400),
    )
    assert next_action(rules, canary_at(0, 0, guards=[slow])).action == "abort"


def test_rules_read_the_example_and_give_guards_where_none_are_written():
    section = RolloutSection(strategy="shadow", max_duration="29d", bake="0s")
    rules = rules_of(section, loss="mae", champion_loss=50.0)
    assert rules.guards == [GuardRule(metric="mae", margin=5.0)]
    assert rules_of(RolloutSection(), loss="log_loss").guards[0].kind == "proportion"
    named = RolloutSection(guards=[GuardSection(metric="loss", max_increase=4.0)])
    assert rules_of(named, loss="mae").guards == [GuardRule(metric="mae", margin=4.0)]


@given(st.lists(st.floats(-50, 50), max_size=28), st.integers(0, 60))
def test_every_decision_has_a_reason_and_no_decision_is_made_on_less_than_asked(
    days: list[float], elapsed: int
):
    decision = next_action(SHADOW, shadow_at(days, elapsed_seconds=elapsed * DAY))
    assert decision.because
    if decision.action == "promote":
        assert len(days) >= SHADOW.min_outcome_days
        assert decision.guards[0].state == "not-worse"
