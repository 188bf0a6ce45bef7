from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flyball.core.digests import digest_bytes
from flyball.core.project import GateSection
from flyball.operations.environments.gates import Recorded, judge_recorded

OURS, THEIRS, ANOTHER = (digest_bytes(word) for word in (b"ours", b"theirs", b"another"))
EVALUATION: dict[str, Any] = {
    "metrics": {
        "roc_auc": {"value": 0.8, "interval": {"low": 0.75, "high": 0.85}, "row_count": 900},
        "log_loss": {"value": 0.4, "interval": None, "row_count": 9},
    },
    "package": {
        "latency_p99_ms": 2.0,
        "latency_interval": {"low": 1.5, "high": 4.0},
        "calls": 500,
        "package_mb": 3.0,
        "memory_mb": 20.0,
    },
    "comparison": {
        "champion": 1,
        "loss": {
            "metric": "log_loss", "champion": 0.41, "candidate": 0.40, "estimate": -0.01,
            "difference": {"low": -0.03, "high": 0.004}, "row_count": 900, "group_count": 900, "identical": False,
        },
    },
}  # fmt: skip
SAID = [
    {"metric": "roc_auc", "by": "sex", "max_gap": 0.1, "confidence": 0.95, "outcome": "fail", "because": "so"}
]


def verdict(champion: str | None = THEIRS, **rule: Any) -> dict[str, Any]:
    recorded = Recorded(
        task="binary", digest=OURS, evaluation=EVALUATION, gates=SAID, compared_with=THEIRS, champion=champion
    )
    (found,) = judge_recorded([msgspec.convert(rule, GateSection)], recorded)
    return found


@pytest.mark.parametrize(
    ("rule", "outcome", "words"),
    [
        ({"metric": "roc_auc", "min": 0.7}, "pass", "0.75 to 0.85"),
        ({"metric": "roc_auc", "min": 0.9}, "fail", "at least 0.9 asked"),
        ({"metric": "roc_auc", "min": 0.8}, "inconclusive", "spans the bound"),
        ({"metric": "roc_auc", "min": 0.7, "confidence": 0.99}, "inconclusive", "too few"),
        ({"metric": "log_loss", "max": 0.9}, "inconclusive", "too few"),
        ({"metric": "brier", "max": 0.9}, "inconclusive", "was not measured"),
        ({"metric": "package_mb", "max": 5}, "pass", "at most 5"),
        ({"metric": "latency_p99_ms", "max": 3}, "inconclusive", "1.5 to 4"),
        ({"metric": "roc_auc", "by": "sex", "max_gap": 0.1}, "fail", "so"),
        ({"metric": "roc_auc", "by": "sex", "max_gap": 0.2}, "inconclusive", "slices"),
        ({"metric": "disagreement", "over": "replay 7d", "max": 0.1}, "inconclusive", "not replayed"),
    ],
)  # fmt: skip
def test_a_gate_of_an_environment_is_judged_on_the_record(rule: dict[str, Any], outcome: str, words: str):
    found = verdict(**rule)
    assert (found["outcome"], words in found["because"]) == (outcome, True), found
    assert found["metric"] == rule["metric"]


VERSUS = {"metric": "log_loss", "versus": "champion", "max_increase": 0.005}


@pytest.mark.parametrize(
    ("champion", "rule", "outcome"),
    [
        (None, VERSUS, "pass"),  # the first version there
        (OURS, VERSUS, "pass"),  # the champion there has the same bytes
        (THEIRS, VERSUS, "pass"),  # compared with that very version by the run
        (THEIRS, {**VERSUS, "max_increase": 0.001}, "inconclusive"),
        (THEIRS, {**VERSUS, "confidence": 0.99}, "inconclusive"),
        (ANOTHER, VERSUS, "inconclusive"),  # nobody has compared the two
        (THEIRS, {"metric": "roc_auc", "versus": "champion", "max_decrease": 0.5}, "inconclusive"),
    ],
)
def test_a_gate_against_the_champion_holds_for_the_version_that_the_run_compared_with(
    champion: str | None, rule: dict[str, Any], outcome: str
):
    assert verdict(champion, **rule)["outcome"] == outcome
