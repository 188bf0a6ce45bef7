"""What a deployment that waits for approvals says to whoever started it, and to whoever looks at it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flyball_tests_control import open_home, seed

from flyball.cli.delivery import render_started
from flyball.cli.following import follow_rollout
from flyball.delivery.start import Started

STARTED = Started(
    model="shop", version=2, rollout_id="rol_1", state="waiting", revision=None, first=False, waiting_for=1, because=""
)  # fmt: skip


def test_who_deploys_is_told_which_command_gives_the_missing_approvals_and_that_it_is_for_somebody_else(
    capsys: pytest.CaptureFixture[str],
):
    render_started(STARTED)
    said = capsys.readouterr().out
    assert "1 approval is missing before it begins: `flyball approve shop@2 --why …`" in said
    assert "somebody who did not make the version" in said
    render_started(msgspec.structs.replace(STARTED, waiting_for=2))
    assert "2 approvals are missing" in capsys.readouterr().out


def test_who_waits_for_a_rollout_hears_of_its_own_end_and_not_of_the_next_one(tmp_path: Path):
    seed(tmp_path, "shop", text="a test")
    with open_home(tmp_path) as app:
        first = app.deploy("shop@2", why="better", strategy="shadow")
        app.decide_rollout("shop", "abort", why="not yet")
        next_one = app.deploy("shop@2", why="again", strategy="shadow")
        ended = follow_rollout(app, first, lambda line: None)
        assert app.rollout_status("shop").id == next_one.rollout_id
    assert (ended.id, ended.state) == (first.rollout_id, "aborted")
