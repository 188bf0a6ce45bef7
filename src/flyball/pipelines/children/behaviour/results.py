"""What a test of the model gives: its verdict with the rows that show it, and the result that is told of it."""

from __future__ import annotations

import time
from typing import Any

from flyball.core.project import ModelTestSection
from flyball.judge.behaviour.found import Found
from flyball.pipelines.model_test_rules import name_of

Shown = tuple[Found, list[dict[str, Any]]]


def result_of(
    test: ModelTestSection, outcome: str, because: str, rows: list[dict[str, Any]], began: float
) -> dict[str, Any]:
    """The result of a declared test that began at this moment of `time.perf_counter` and ends now."""
    return {
        "kind": test.kind,
        "name": name_of(test),
        "outcome": outcome,
        "because": because,
        "rows": rows if outcome != "pass" else [],
        "seconds": round(time.perf_counter() - began, 3),
    }
