"""Decisions are a function of event times: the same history at two speeds, and as wall-clock traffic, decides alike."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_sharing"
sys.path.insert(0, str(EXAMPLE))
from replay import Replay, Row  # noqa: E402 - found through the line above
from stream import as_requests, read_rows, split  # noqa: E402 - found through the line above

Whole = sys.modules["flyball_tests_whole"].Whole

# Whole servers for minutes; test_loop_turns.py holds the short form.
pytestmark = pytest.mark.long


def items(whole: Any, model: str, what: str) -> list[dict[str, Any]]:
    status, answer = whole.call(whole.port, "GET", f"/api/v1/{what}?model={model}&limit=200")
    assert status == 200, answer
    return answer["items"]


def timeless(choice: dict[str, Any]) -> dict[str, Any]:
    """What was considered and chosen, without how long that took."""
    return {
        name: {key: value for key, value in part.items() if key != "seconds"}
        if isinstance(part, dict)
        else part
        for name, part in choice.items()
    }


def decisions(whole: Any, model: str) -> dict[str, list[Any]]:
    """What was decided, on model time, and from which rows; without ids and wall times."""
    return {
        "signals": sorted([s["at"], s["kind"], s["sentence"]] for s in items(whole, model, "signals")),
        "retrainings": sorted(
            [
                r["decided_at"],
                r["state"],
                r["because"],
                r["snapshot"] or "",
                r["result"] or "",
                timeless(r["data_choice"]),
            ]
            for r in items(whole, model, "retrainings")
        ),
        "rollouts": sorted(
            [
                r["started_model_at"],
                r["state"],
                r["because"],
                r["ended_model_at"],
                r["evidence"].get("guards"),
            ]
            for r in items(whole, model, "rollouts")
        ),
    }


@pytest.fixture
def bikes_home(tmp_path: Path, child_environment: dict[str, str]) -> Path:
    """The example with its first version in service, for copies."""
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    for name in ("flyball.toml", "train.py"):
        shutil.copy(EXAMPLE / name, folder / name)
    known, _ = split(read_rows(EXAMPLE / "data" / "bike_sharing_hourly.parquet"))
    known.write_parquet(folder / "data" / "bike_sharing_hourly.parquet")
    whole = Whole(folder, child_environment)
    whole.flyball("run")
    whole.flyball("deploy", "bike-sharing", "--why", "first version")
    return folder


@contextmanager
def copied(source: Path, folder: Path, environment: dict[str, str]) -> Iterator[Any]:
    """`flyball up` on a copy of a home."""
    shutil.copytree(source, folder)
    whole = Whole(folder, environment)
    try:
        whole.up()
        yield whole
    finally:
        whole.down()


def replay(whole: Any, model: str, rows: list[Row], delay: timedelta, pause_seconds: float = 0.0) -> None:
    serve_url, control_url = (f"http://127.0.0.1:{port}" for port in (whole.serve_port, whole.port))
    replayed = Replay(model, rows, delay, serve_url=serve_url, control_url=control_url)
    tally = replayed.run(on_batch=lambda _: time.sleep(pause_seconds))
    assert (tally.errors, tally.answered) == ([], len(rows))


def assert_no_row_from_the_future(whole: Any) -> None:
    """No training row's outcome became known after its retraining's model time."""
    retrainings = items(whole, "bike-sharing", "retrainings")
    assert retrainings, "nothing was retrained"
    for item in retrainings:
        latest = item["data_choice"]["rows"]["latest_outcome_known_at"]
        decided_at = datetime.fromisoformat(item["decided_at"])
        # Rows of the log were used, up to those that had become known just then.
        assert decided_at - timedelta(days=2) < datetime.fromisoformat(latest) <= decided_at, item


def test_the_same_history_at_two_speeds_takes_the_same_decisions(
    tmp_path: Path, child_environment: dict[str, str], bikes_home: Path
):
    _, stream = split(read_rows(EXAMPLE / "data" / "bike_sharing_hourly.parquet"))
    rows = as_requests(stream.filter(pl.col("ts") < datetime(2011, 9, 14, tzinfo=UTC)))
    found = {}
    for name, pause_seconds in (("quick", 0.0), ("slow", 0.25)):
        with copied(bikes_home, tmp_path / name, child_environment) as whole:
            replay(whole, "bike-sharing", rows, timedelta(days=1), pause_seconds)
            found[name] = decisions(whole, "bike-sharing")
            assert_no_row_from_the_future(whole)
    assert found["quick"] == found["slow"]
    # The summer holds signals that lead to nothing, and one that leads to a candidate and its rollout.
    assert {state for _, state, *_ in found["quick"]["retrainings"]} >= {"ready"}
    assert found["quick"]["rollouts"]


CLOCK_PROJECT = """
[model]
name = "clock"
task = "regression"
target = "y"
time = "at"
[data]
source = "rows.csv"
outcome_delay = "5s"
[train]
entry = "train:train"
[monitor]
window = "1m"
min_rows = 30
false_alarms = "1 per 1d"
[rollout]
strategy = "immediate"
[retrain]
on = ["performance", "1 of 1 windows"]
from = "both"
cooldown = "10m"
"""
CLOCK_TRAIN = """
import lightgbm


def train(train, features, target, seed):
    model = lightgbm.LGBMRegressor(n_estimators=20, num_leaves=7, random_state=seed, n_jobs=1, verbose=-1)
    return model.fit(train.select(features).to_numpy(), train[target].to_numpy())
"""


def truth(x: float, moved: bool, chance: random.Random) -> float:
    return 4 * x + (25.0 if moved else 0.0) + chance.gauss(0, 1)


@pytest.fixture
def clock_home(tmp_path: Path, child_environment: dict[str, str]) -> Path:
    """A model of a world that has moved by the time it is asked, in service; for copies."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "flyball.toml").write_text(CLOCK_PROJECT)
    (folder / "train.py").write_text(CLOCK_TRAIN)
    chance = random.Random(1)
    start = datetime.now(UTC) - timedelta(minutes=20)
    lines = ["at,x,y"]
    for number in range(1200):
        x = chance.uniform(0, 10)
        at = start + timedelta(seconds=0.5 * number)
        lines.append(f"{at.isoformat()},{x:.4f},{truth(x, False, chance):.4f}")
    (folder / "rows.csv").write_text("\n".join(lines))
    whole = Whole(folder, child_environment)
    whole.flyball("run")
    whole.flyball("deploy", "clock", "--why", "first version")
    return folder


def live_traffic(whole: Any) -> list[Row]:
    """Requests as they come, their outcomes five seconds later, until a whole minute is decided; what was sent."""
    sent: list[Row] = []
    due: list[tuple[datetime, str, float]] = []
    chance = random.Random(2)
    deadline = time.monotonic() + 150
    while not items(whole, "clock", "retrainings"):
        assert time.monotonic() < deadline, f"nothing was decided; {whole.logs()}"
        for _ in range(5):
            x = chance.uniform(0, 10)
            y = truth(x, True, chance)
            at = datetime.now(UTC)
            body = {"rows": [{"x": x}], "at": at.isoformat()}
            status, answer = whole.call(whole.serve_port, "POST", "/v1/models/clock/predict", body)
            assert status == 200, answer
            sent.append(Row(at, {"x": x}, y))
            due.append((at + timedelta(seconds=5), answer["prediction_ids"][0], y))
            time.sleep(0.05)
        ready = [item for item in due if item[0] <= datetime.now(UTC)]
        due = due[len(ready) :]
        outcomes = [{"prediction_id": i, "value": y, "at": at.isoformat()} for at, i, y in ready]
        if outcomes:
            status, answer = whole.call(
                whole.serve_port, "POST", "/v1/models/clock/outcomes", {"outcomes": outcomes}
            )
            assert status == 200, answer
    return sent


def first_decisions(whole: Any) -> tuple[list[Any], list[Any]]:
    """The first signal about performance, and the first retraining once it has chosen its rows."""

    def has_chosen() -> bool:
        found = items(whole, "clock", "retrainings")
        return bool(found) and found[-1]["state"] not in ("wanted", "running")

    whole.wait(has_chosen, "the retraining", seconds=60)
    found = decisions(whole, "clock")
    signals = [signal for signal in found["signals"] if signal[1] == "performance"]
    return signals[0], found["retrainings"][0]


def test_wall_clock_traffic_and_its_replay_decide_alike(
    tmp_path: Path, child_environment: dict[str, str], clock_home: Path
):
    with copied(clock_home, tmp_path / "live", child_environment) as live:
        sent = live_traffic(live)
        signal, retraining = first_decisions(live)
    with copied(clock_home, tmp_path / "again", child_environment) as again:
        replay(again, "clock", sent, timedelta(seconds=5))
        replayed_signal, replayed_retraining = first_decisions(again)
    assert replayed_signal == signal
    assert replayed_retraining == retraining
