"""What pages make of what they are given: health in a sentence, timelines, metrics with their intervals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from flyball.operations.overview import ModelSummary
from flyball.web.pages.incidents import fold_signals, in_order
from flyball.web.pages.model import drift_rows, from_first_value, read_sample
from flyball.web.pages.overview import count_states, health
from flyball.web.pages.predictions import answer_line
from flyball.web.pages.version import measured_metrics, training_rows

AT = datetime(2012, 5, 3, tzinfo=UTC)
SUMMARY = ModelSummary(
    name="bike",
    task="regression",
    owner=None,
    description=None,
    created_at=AT,
    champion=2,
    candidate=None,
    version_count=2,
    open_incidents=0,
    model_time=AT,
    revision=1,
)


def window(**fields: Any) -> dict[str, Any]:
    known = {"start": "2012-05-03T00:00:00Z", "end": "2012-05-10T00:00:00Z", "loss": 38.21, "reference": 36.0}
    return {**known, "version": 2, "healthy": True, "rows": 168, "state": "complete", **fields}


@pytest.mark.parametrize(
    ("changes", "windows", "state", "words", "command"),
    [
        ({"champion": None, "version_count": 0}, [], "not in service", "No version yet", "flyball run"),
        ({"champion": None}, [], "not in service", "2 versions registered", "flyball deploy bike"),
        ({}, [], "healthy", "No window has been judged yet", ""),
        ({}, [window()], "healthy", "mae 38.21 in the window to 2012-05-10; training promised 36.", ""),
        ({}, [window(loss=None)], "healthy", "too few with an outcome", ""),
        ({}, [window(loss=None, state="inputs")], "healthy", "outcomes are not due yet", ""),
        ({"candidate": 3}, [window()], "rollout", "Version 3 is being rolled out", ""),
        ({"candidate": 3, "open_incidents": 1}, [window()], "attention", "mae 38.21", ""),
    ],
)
def test_a_models_health_is_a_sentence_and_the_next_step(
    changes: dict[str, Any], windows: list[dict[str, Any]], state: str, words: str, command: str
):
    found = health(msgspec.structs.replace(SUMMARY, **changes), windows, "mae")
    assert found[0] == state
    assert words in found[1]
    assert found[2] == command


def test_the_states_of_all_models_are_counted_in_words():
    assert count_states([]) == "0 models: "
    assert count_states(["attention", "attention", "rollout"]) == "3 models: 2 need attention, 1 in a rollout"


def entry(number: int, kind: str, time: str | None) -> dict[str, Any]:
    return {"sequence": number, "kind": kind, "model_time": time}


def test_a_timeline_follows_model_time_and_a_note_stays_behind_what_it_followed():
    entries = [
        entry(1, "signal", "2012-01-01"),
        entry(2, "signal", "2012-01-09"),
        entry(3, "note", None),
        entry(4, "action", "2012-01-01"),
        entry(5, "result", "2012-02-01"),
    ]
    assert [e["sequence"] for e in in_order(entries)] == [1, 4, 2, 3, 5]


def test_a_long_row_of_signals_is_folded_and_none_of_them_is_lost():
    entries = [entry(n, "signal", "2012-01-01") for n in range(6)] + [entry(6, "action", "2012-01-02")]
    folded = fold_signals(entries)
    assert [e["sequence"] for e in folded] == [0, 5, 6]
    assert [e["sequence"] for e in folded[0]["folded"]] == [1, 2, 3, 4]
    short = fold_signals(entries[:3])
    assert [e["sequence"] for e in short] == [0, 1, 2]


def test_metrics_get_the_intervals_of_the_newest_evaluation():
    evidence = [
        {"kind": "rollout", "facts": {}},
        {
            "kind": "evaluation",
            "facts": {"metrics": {"mae": {"value": 2.0, "interval": {"low": 1, "high": 3}}}},
        },
    ]
    found = measured_metrics({"mae": 2.0, "r2": 0.8}, evidence)
    assert found == {"mae": {"value": 2.0, "interval": {"low": 1, "high": 3}}, "r2": 0.8}
    assert measured_metrics({"mae": 2.0}, []) == {"mae": 2.0}


def test_training_rows_are_told_where_they_are_known():
    assert training_rows({"rows": {"source": 300, "train": 210, "test": 60}}) == "train 210, test 60"
    assert training_rows({}) == ""


@pytest.mark.parametrize(
    ("prediction", "outcome", "difference"),
    [(213.4, 201.0, 12.4), (213.4, None, None), ("yes", "no", None), (True, False, None), (None, 3.0, None)],
)
def test_an_answer_is_compared_with_its_outcome_where_both_are_numbers(
    prediction: Any, outcome: Any, difference: float | None
):
    told = {"value": outcome, "known_at": "2012-05-03"} if outcome is not None else None
    line = answer_line({"id": "prd_1", "prediction": prediction, "outcome": told, "latency_us": 340})
    assert line["difference"] == (None if difference is None else pytest.approx(difference))
    assert line["outcome"] == outcome
    assert line["latency_ms"] == pytest.approx(0.34)


def test_a_chart_begins_where_something_was_measured():
    samples = [read_sample(window(loss=loss)) for loss in (None, None, 3.0, None)]
    assert [s.value for s in from_first_value(samples)] == [3.0, None]
    assert len(from_first_value(samples[:2])) == 2


def test_drift_is_shown_per_feature_with_the_alarms_of_its_signals():
    drift = {
        "windows": ["2012-05-03T00:00:00Z", "2012-05-10T00:00:00Z"],
        "features": [{"name": "temp", "scores": [0.1, 0.9]}, {"name": "hour", "scores": [None, 0.2]}],
    }
    signals = [
        {"feature": "temp", "window_start": "2012-05-10T00:00:00Z"},
        {"feature": None, "window_start": "2012-05-10T00:00:00Z"},
    ]
    rows = drift_rows(drift, signals)["rows"]
    assert [(row["name"], row["last"], row["largest"], row["alarms"]) for row in rows] == [
        ("temp", 0.9, 0.9, 1),
        ("hour", 0.2, 0.2, 0),
    ]
