"""What a caller that waits for a retraining hears of one that ended long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flyball_tests_control import open_home, seed
from flyball_tests_loop import a_retraining

from flyball.cli.following import RECENT_RETRAININGS, follow_retraining
from flyball.core.errors import RetrainingNotFound
from flyball.retraining import retrainings
from flyball.retraining.retrainings import Retraining

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def _ended(number: int) -> Retraining:
    at = LONG_AGO + timedelta(days=number)
    identity = retrainings.retraining_id("shop", at)
    return a_retraining(at, id=identity, model="shop", state="kept", result=f"night {number}", finished_at=at)


def test_a_key_whose_retraining_ended_years_ago_still_has_its_answer(tmp_path: Path):
    seed(tmp_path, "shop", text="a test")
    nights = [_ended(number) for number in range(RECENT_RETRAININGS + 5)]
    with open_home(tmp_path) as app:
        with app.backends.database.write() as conn:
            for night in nights:
                assert retrainings.save_new(conn, night)
        first = {"retraining": nights[0].id}
        assert follow_retraining(app, "shop", first, lambda line: None, 1.0)["result"] == "night 0"
        with pytest.raises(RetrainingNotFound, match="rtn_none"):
            follow_retraining(app, "shop", {"retraining": "rtn_none"}, lambda line: None, 1.0)
