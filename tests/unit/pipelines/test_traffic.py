from __future__ import annotations

from typing import Any

import msgspec

from flyball.core.project import Project
from flyball.pipelines.traffic import traffic_notes


def project(**sections: Any) -> Project:
    whole = {
        "model": {"name": "bike", "task": "regression", "target": "cnt", "time": "ts"},
        "data": {"source": "x.csv", "outcome_delay": "1d"},
        "train": {"entry": "train:train"},
        **sections,
    }
    return msgspec.convert(whole, Project)


def test_a_window_that_can_never_hold_enough_rows_is_warned_of():
    _, warnings = traffic_notes(project(monitor={"window": "7d", "min_rows": 200}), rows_per_day=24)
    assert any("about 168 rows" in warning and "min_rows is 200" in warning for warning in warnings)
    assert traffic_notes(project(monitor={"window": "7d", "min_rows": 100}), 1000)[1] == []


def test_a_rollout_that_ends_before_it_can_be_judged_is_warned_of():
    canary = {"strategy": "canary", "steps": [0.05, 1.0], "min_requests": 200, "max_duration": "14d"}
    notes, warnings = traffic_notes(project(rollout=canary, monitor={"min_rows": 10}), rows_per_day=24)
    assert any("at least 167 days" in note for note in notes)
    assert any("would end undecided" in warning for warning in warnings)


def test_guards_tell_how_many_requests_they_need():
    rollout = {"guards": [{"metric": "error_rate", "max_increase": 0.005}]}
    notes, _ = traffic_notes(project(rollout=rollout), rows_per_day=10_000)
    assert any("need about 600 requests" in note for note in notes)


def test_a_shadow_rollout_counts_days_of_outcomes():
    notes, warnings = traffic_notes(
        project(rollout={"strategy": "shadow", "min_outcome_days": 20, "max_duration": "14d"}),
        rows_per_day=5000,
    )
    assert any("shadow rollout takes at least 21 days" in note for note in notes)
    assert len(warnings) == 1
