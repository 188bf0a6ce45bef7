"""What `flyball rollout status` tells: the step, what is waited for, what is left of its times, each guard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flyball.cli.rollout_status import render_guards, render_rollout
from flyball.client import _record_of
from flyball.core.project import RolloutSection
from flyball.delivery.rollouts import Rollout, RolloutStep
from flyball.judge.guards import GuardStatus

BEGAN, MODEL_BEGAN = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
STEP_BEGAN = BEGAN + timedelta(hours=1)
GUARDS = [
    GuardStatus(
        metric="error_rate", state="open", because="not decided yet: …", count=140, margin=0.005, estimate=0.0012,
        e_not_worse=3.21, e_harm=0.4, threshold_not_worse=20.0, threshold_harm=40.0,
    ),
    GuardStatus(metric="disagreement", state="absent", because="no evidence on disagreement yet", count=0, margin=0.1),
]  # fmt: skip
LOOK = {
    "step": 1,
    "at": (MODEL_BEGAN + timedelta(days=3, hours=12)).isoformat(),
    "action": "wait",
    "because": "140 of 200 requests seen in this step",
    "undecided": False,
    "bake_elapsed_seconds": 100.0,
    "guards": msgspec.to_builtins(GUARDS),
    "requests": 140,
}


def _rollout(**changes: Any) -> Rollout:
    given: dict[str, Any] = {
        "id": "rol_1",
        "model": "shop",
        "champion": 1,
        "candidate": 2,
        "digest": "sha256:" + "0" * 64,
        "strategy": "canary",
        "state": "running",
        "step": 1,
        "salt": "rol_1",
        "approvals": 0,
        "started_at": BEGAN,
        "started_model_at": MODEL_BEGAN,
        "step_started_at": STEP_BEGAN,
        "looked_until": None,
        "ended_at": None,
        "ended_model_at": None,
        "settings": RolloutSection(),
        "project": {},
        "steps": [
            RolloutStep(step=0, share=0.05, revision=2, at=BEGAN, model_time=MODEL_BEGAN),
            RolloutStep(step=1, share=0.25, revision=3, at=STEP_BEGAN, model_time=MODEL_BEGAN),
        ],
        "evidence": LOOK,
        "incident_id": None,
        "signal_id": None,
        "why": "",
        "because": None,
        "actor": "ada",
    }
    return Rollout(**{**given, **changes})


def _said(found: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    render_rollout(found, STEP_BEGAN + timedelta(minutes=4))
    lines = capsys.readouterr().out.splitlines()
    return {name.strip(): text for name, _, text in (line.partition("  ") for line in lines)}


def test_a_canary_tells_its_step_its_requests_its_times_and_what_it_waits_for(
    capsys: pytest.CaptureFixture[str],
):
    said = {name: text.strip() for name, text in _said(_rollout(), capsys).items()}
    assert said["step"] == "2 of 3: 5%, [25%], 100% of traffic"
    assert said["this step since"] == "2026-11-21 13:00:00Z" and said["since"] == "2026-11-21 12:00:00Z"
    assert said["requests"] == "140 of 200 in this step"
    assert said["wall time"] == "4m of 10m baked, 6m left"
    assert said["model time"] == "3.5d of 14d gone, 10.5d left; then abort"
    assert said["waits for"] == "140 of 200 requests seen in this step"


def test_a_look_at_the_step_before_is_not_told_as_one_at_this_step(capsys: pytest.CaptureFixture[str]):
    said = _said(_rollout(evidence={**LOOK, "step": 0}), capsys)
    assert "requests" not in said and "model time" not in said
    assert "a first look" in said["waits for"]


def test_a_rollout_that_ended_waits_for_nothing(capsys: pytest.CaptureFixture[str]):
    ended = _rollout(state="aborted", ended_at=STEP_BEGAN, because="harm shown", steps=_rollout().steps[:1])
    said = _said(ended, capsys)
    assert "harm shown" in said["because"] and "13:00:00Z" in said["ended"]
    assert not {"wall time", "model time", "requests", "waits for"} & set(said)


@pytest.mark.parametrize(
    ("state", "because", "told"),
    [("waiting", None, True), ("waiting", "held", False), ("running", None, False)],
)
def test_one_that_waits_for_approvals_says_so_unless_it_has_a_reason(
    state: str, because: str | None, told: bool, capsys: pytest.CaptureFixture[str]
):
    said = _said(_rollout(state=state, because=because, steps=[], evidence={}), capsys)
    assert ("waits for approvals" in said.get("because", "")) is told
    assert because is None or because in said["because"]


def test_a_shadow_has_no_share_of_traffic(capsys: pytest.CaptureFixture[str]):
    said = _said(_rollout(strategy="shadow", step=0, evidence={**LOOK, "step": 0}), capsys)
    assert "step" not in said and "13:00:00Z" in said["beside the champion since"]
    assert "140 of 200" in said["requests"]


def test_a_guard_stands_with_what_is_allowed_and_with_what_decides(capsys: pytest.CaptureFixture[str]):
    render_guards(_rollout())
    _, heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["guard", "state", "seen", "estimate", "allowed", "for", "against", "because"]
    assert first.split() == [
        "error_rate",
        "open",
        "140",
        "0.0012",
        "0.005",
        "3.21",
        "of",
        "20",
        "0.4",
        "of",
        "40",
    ]
    assert second.split()[:4] == ["disagreement", "absent", "0", "0.1"]
    assert second.endswith("no evidence on disagreement yet")


def test_a_rollout_from_elsewhere_reads_the_same(capsys: pytest.CaptureFixture[str]):
    here = _said(_rollout(), capsys)
    there = _record_of(msgspec.json.decode(msgspec.json.encode(_rollout())))
    assert _said(there, capsys) == here
    render_guards(there)
    assert "3.21 of 20" in capsys.readouterr().out
