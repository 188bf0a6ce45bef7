"""Gates: pass, fail, not decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.project import GateSection
from flyball.core.values import Interval
from flyball.judge.gates.gate import GateEvidence, judge_gate, no_worse_than, shows_gain
from flyball.judge.metrics.measure import Measured, Paired


def paired(low: float, high: float, *, metric: str = "mae", estimate: float = 0.0, **more: object) -> Paired:
    known = {
        "metric": metric,
        "champion": 50.0,
        "candidate": 50.0 + estimate,
        "estimate": estimate,
        "difference": Interval(low, high),
        "row_count": 168,
        "group_count": 7,
        "identical": False,
    }
    return Paired(**(known | more))


def test_an_interval_across_the_margin_is_inconclusive_and_not_passed():
    assert no_worse_than(Interval(-0.02, 0.05), margin=0.01).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.73, 0.80, "pass"), (0.70, 0.80, "inconclusive"), (0.60, 0.71, "fail")],
)
def test_the_bound_of_the_interval_decides_a_minimum(low: float, high: float, outcome: str):
    evidence = GateEvidence(value=(low + high) / 2, interval=Interval(low, high), row_count=100)
    assert judge_gate(GateSection(metric="roc_auc", min=0.72), evidence).outcome == outcome


def test_a_value_without_interval_decides_only_when_it_is_exact():
    gate = GateSection(metric="package_mb", max=5)
    assert judge_gate(gate, GateEvidence(value=4.0)).outcome == "inconclusive"
    assert judge_gate(gate, GateEvidence(value=4.0, is_exact=True)).outcome == "pass"
    assert judge_gate(gate, GateEvidence(value=6.0, is_exact=True)).outcome == "fail"


def test_what_was_not_measured_never_passes():
    assert judge_gate(GateSection(metric="roc_auc", min=0.1), GateEvidence()).outcome == "inconclusive"
    assert judge_gate(GateSection(metric="roc_auc"), GateEvidence(value=1.0)).outcome == "inconclusive"


VERSUS = GateSection(metric="mae", versus="champion", max_increase=4.0)


def test_the_first_version_passes_as_first():
    verdict = judge_gate(VERSUS, GateEvidence(has_champion=False))
    assert verdict.outcome == "pass"
    assert "first version" in verdict.because


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(-3, 3.9, "pass"), (-3, 5, "inconclusive"), (4.5, 9, "fail")]
)
def test_against_the_champion_not_worse_than_the_margin(low: float, high: float, outcome: str):
    evidence = GateEvidence(has_champion=True, paired=paired(low, high))
    assert judge_gate(VERSUS, evidence).outcome == outcome


def test_a_metric_that_should_rise_is_harmed_by_falling():
    gate = GateSection(metric="roc_auc", versus="champion", max_decrease=0.01)
    worse = paired(-0.05, -0.02, metric="roc_auc")
    assert judge_gate(gate, GateEvidence(has_champion=True, paired=worse)).outcome == "fail"
    better = paired(0.02, 0.05, metric="roc_auc")
    assert judge_gate(gate, GateEvidence(has_champion=True, paired=better)).outcome == "pass"


def test_no_spread_passes_only_for_identical_answers():
    still = paired(0.0, 0.0)
    assert judge_gate(VERSUS, GateEvidence(has_champion=True, paired=still)).outcome == "inconclusive"
    same = paired(0.0, 0.0, identical=True)
    assert judge_gate(VERSUS, GateEvidence(has_champion=True, paired=same)).outcome == "pass"


def test_no_comparison_is_inconclusive_when_there_is_a_champion():
    assert judge_gate(VERSUS, GateEvidence(has_champion=True)).outcome == "inconclusive"


def slices(**levels: tuple[float, float, float]) -> dict[str, Measured]:
    return {
        name: Measured(value=v, interval=Interval(low, high), row_count=50)
        for name, (low, v, high) in levels.items()
    }


def test_a_gap_between_slices_is_judged_by_its_bounds():
    gate = GateSection(metric="true_positive_rate", by="sex", max_gap=0.10)
    near = GateEvidence(slices=slices(f=(0.79, 0.80, 0.81), m=(0.77, 0.78, 0.79)))
    far = GateEvidence(slices=slices(f=(0.79, 0.80, 0.81), m=(0.50, 0.52, 0.54)))
    unsure = GateEvidence(slices=slices(f=(0.70, 0.80, 0.90), m=(0.68, 0.78, 0.88)))
    assert [judge_gate(gate, e).outcome for e in (near, far, unsure)] == ["pass", "fail", "inconclusive"]
    assert judge_gate(gate, GateEvidence(slices=slices(f=(0.7, 0.8, 0.9)))).outcome == "inconclusive"


def test_one_failed_rule_fails_a_gate_with_two():
    gate = GateSection(metric="mae", max=60, versus="champion", max_increase=4.0)
    evidence = GateEvidence(value=50.0, interval=Interval(48, 52), has_champion=True, paired=paired(5.0, 9.0))
    assert judge_gate(gate, evidence).outcome == "fail"


def test_an_automatic_candidate_needs_an_estimated_gain():
    assert shows_gain(None).outcome == "inconclusive"
    equal = shows_gain(paired(-1, 1, estimate=0.0))
    assert (equal.outcome, equal.because.partition(" on ")[0]) == ("fail", "no estimated gain in mae")
    assert shows_gain(paired(-1, 1, estimate=0.5)).outcome == "fail"
    assert shows_gain(paired(-1, 1, estimate=-0.5)).outcome == "pass"
    assert shows_gain(paired(-1, 1, metric="roc_auc", estimate=0.5)).outcome == "pass"


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(0, 5))
def test_a_wider_interval_never_turns_into_a_decision(low: float, width: float, margin: float):
    narrow = no_worse_than(Interval(low, low + width), margin=margin)
    wide = no_worse_than(Interval(low - 1, low + width + 1), margin=margin)
    assert wide.outcome in {narrow.outcome, "inconclusive"}
