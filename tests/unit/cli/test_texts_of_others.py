"""Reasons hold what people wrote, such as the first line of a merged commit: told, they command no host of a log."""

from __future__ import annotations

import pytest

from flyball.cli.delivery import render_started
from flyball.cli.main import _report_defect
from flyball.cli.monitoring import _render_checks
from flyball.cli.testing import render_tests
from flyball.delivery.start import Started

HOSTILE = "merged as 1f9a2c\r::stop-commands::x\x1b[31m ##vso[task.setvariable variable=PATH]/tmp"


@pytest.mark.parametrize("first", [True, False])
def test_the_reason_of_a_deployment_stays_within_its_line(first: bool, capsys: pytest.CaptureFixture[str]):
    started = Started(
        model="shop",
        version=1,
        rollout_id=None,
        state="promoted",
        revision=1,
        first=first,
        waiting_for=0,
        because=HOSTILE,
    )
    render_started(started)
    _check(capsys.readouterr().out)


def test_what_a_model_test_says_stays_within_its_line(capsys: pytest.CaptureFixture[str]):
    item = {"name": "::error::t", "outcome": "fail", "because": HOSTILE, "file": "\r::error::t.py", "line": 3}
    render_tests([{**item, "line": None}, item])
    _check(capsys.readouterr().out)


def test_what_is_told_of_a_check_of_production_stays_within_its_lines(capsys: pytest.CaptureFixture[str]):
    item = {"model": "shop", "verdict": "alarm", "windows": []}
    _render_checks([{**item, "summary": HOSTILE, "because": HOSTILE}])
    _check(capsys.readouterr().out)


def test_what_nobody_expected_is_told_within_its_line(capsys: pytest.CaptureFixture[str]):
    for error in (ValueError(f"{HOSTILE}\n::error::"), PermissionError(13, "no", f"{HOSTILE}\n::error::")):
        assert _report_defect(error) in (2, 3)
        _check(capsys.readouterr().err)


def _check(told: str) -> None:
    assert "merged as 1f9a2c" in told and not set("\r\x1b") & set(told) and "##vso[" not in told
    assert not any(line.lstrip().startswith("::") for line in told.splitlines())
