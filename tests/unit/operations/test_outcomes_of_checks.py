"""How a check ends: by its stages, by the error that stopped it, by its gates; and the exit code of each."""

from __future__ import annotations

from typing import Any

import pytest

from flyball.operations.ci.findings import gate_reasons, outcome_of_error, worst
from flyball.operations.ci.report import EXIT_CODES


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("contract_broken", "fail"),
        ("bad_project", "fail"),
        ("not_enough_evidence", "inconclusive"),
        ("user_code_failed", "broken"),
        ("run_timed_out", "broken"),
        ("run_out_of_memory", "broken"),
        ("corrupt_object", "broken"),
        ("unavailable", "broken"),
        ("a_code_of_a_later_release", "broken"),
    ],
)
def test_what_is_refused_is_a_no_too_little_is_undecided_and_all_else_is_broken(code: str, outcome: str):
    assert outcome_of_error(code) == outcome


@pytest.mark.parametrize(
    ("stages", "outcome", "code"),
    [
        (["pass", "skipped"], "pass", 0),
        (["inconclusive", "pass"], "inconclusive", 4),
        (["inconclusive", "fail", "pass"], "fail", 1),
        (["fail", "broken", "inconclusive"], "broken", 3),
        ([], "pass", 0),
    ],
)
def test_the_worst_stage_decides_and_its_exit_code_is_its_own(stages: Any, outcome: Any, code: int):
    assert worst(stages) == outcome
    assert EXIT_CODES[worst(stages)] == code


def test_a_gate_that_failed_is_told_before_those_that_are_not_decided():
    gates = [
        {"metric": "mae", "outcome": "inconclusive", "because": "few rows"},
        {"metric": "rmse", "outcome": "fail", "because": "too large"},
        {"metric": "r2", "outcome": "pass", "because": "fine"},
    ]
    assert gate_reasons(gates) == ("fail", ["gate on rmse failed: too large"])
    assert gate_reasons([gates[0], gates[2]]) == ("inconclusive", ["gate on mae not decided: few rows"])
    assert gate_reasons(gates[2:]) == ("pass", ["1 gate passed"])
    assert gate_reasons([]) == ("skipped", ["the project has no gates"])
