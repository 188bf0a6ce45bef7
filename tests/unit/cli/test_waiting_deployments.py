"""What a deployment that waits for approvals says to whoever started it, and to whoever looks at it."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from flyball.cli.delivery import _render_rollout, render_started
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


@pytest.mark.parametrize(
    ("state", "because", "told"),
    [("waiting", None, True), ("waiting", "held", False), ("running", None, False)],
)
def test_the_status_of_a_waiting_rollout_says_what_it_waits_for_unless_it_has_a_reason(
    state: str, because: str | None, told: bool, capsys: pytest.CaptureFixture[str]
):
    found = SimpleNamespace(
        id="rol_1", model="shop", candidate=2, champion=1, strategy="canary", state=state, step=0, started_at=None,
        because=because,
    )  # fmt: skip
    _render_rollout(found)
    said = capsys.readouterr().out
    assert ("waits for approvals" in said) is told
    assert because is None or because in said
