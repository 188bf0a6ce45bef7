"""Decisions are a function of event times: the same history at two speeds, and as wall-clock traffic, decides alike."""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_sharing"
sys.path.insert(0, str(EXAMPLE))
from replay import Replay, Row  # noqa: E402 - found through the line above
from stream import as_requests, read_rows, split  # noqa: E402 - found through the line above

Whole = sys.modules["flyball_tests_whole"].Whole


def decisions(whole, model: str) -> dict[str, list]:
    """What was decided, on model time, without ids and wall times."""

    def items(path: str) -> list[dict]:
        status, answer = whole.call(whole.port, "GET", f"/api/v1/{path}?model={model}&limit=200")
        assert status == 200, answer
        return answer["items"]

    return {
        "signals": sorted([s["at"], s["kind"], s["sentence"]] for s in items("signals")),
        "retrainings": sorted([r["decided_at"], r["state"], r["because"]] for r in items("retrainings")),
        "rollouts": sorted([r["started_model_at"], r["state"], r["because"]] for r in items("rollouts")),
    }


def new_whole(folder: Path, environment: dict[str, str], source: Path) -> Whole:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return Whole(folder, environment)


@pytest.fixture
def bike_project(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    for name in ("flyball.toml", "train.py"):
        shutil.copy(EXAMPLE / name, folder / name)
    known, _ = split(read_rows(EXAMPLE / "data" / "bike_sharing_hourly.parquet"))
    known.write_parquet(folder / "data" / "bike_sharing_hourly.parquet")
    return folder


def replay_weeks(whole: Whole, weeks: int, pause_seconds: float) -> dict[str, list]:
    whole.flyball("run")
    whole.flyball("deploy", "bike-sharing", "--why", "first version")
    whole.up()
    _, stream = split(read_rows(EXAMPLE / "data" / "bike_sharing_hourly.parquet"))
    rows = as_requests(
        stream.filter(pl.col("ts") < datetime(2011, 7, 1, tzinfo=UTC) + timedelta(weeks=weeks))
    )
    replay = Replay(
        "bike-sharing",
        rows,
        timedelta(days=1),
        serve_url=f"http://127.0.0.1:{whole.serve_port}",
        control_url=f"http://127.0.0.1:{whole.port}",
    )
    tally = replay.run(on_batch=lambda _: time.sleep(pause_seconds))
    assert tally.errors == []
    found = decisions(whole, "bike-sharing")
    known = [row["known_at_latest"] for row in training_rows(whole)]
    assert known, "no retraining kept its rows"
    whole.down()
    return found


def training_rows(whole: Whole) -> list[dict]:
    """Per finished retraining: its model time, and the latest moment at which one of its rows' outcomes was known."""
    status, answer = whole.call(whole.port, "GET", "/api/v1/retrainings?model=bike-sharing&limit=200")
    assert status == 200
    found = []
    for item in answer["items"]:
        latest = (item["data_choice"].get("rows") or {}).get("known_at_latest")
        if latest is not None:
            assert latest <= item["decided_at"], item
            found.append({"decided_at": item["decided_at"], "known_at_latest": latest})
    return found


def test_the_same_history_at_two_speeds_takes_the_same_decisions(tmp_path, child_environment, bike_project):
    quick = new_whole(tmp_path / "quick", child_environment, bike_project)
    slow = new_whole(tmp_path / "slow", child_environment, bike_project)
    try:
        first = replay_weeks(quick, weeks=11, pause_seconds=0.0)
        second = replay_weeks(slow, weeks=11, pause_seconds=0.25)
    finally:
        quick.down()
        slow.down()
    assert first == second
    assert first["retrainings"], "eleven weeks hold at least one decision to retrain"


CLOCK_PROJECT = """
[model]
name = "clock"
task = "regression"
target = "y"
time = "at"
[data]
source = "rows.csv"
outcome_delay = "1s"
[train]
entry = "train:train"
[monitor]
window = "6s"
min_rows = 30
false_alarms = "1 per 1m"
[rollout]
strategy = "immediate"
[retrain]
on = ["performance"]
from = "both"
cooldown = "60s"
"""
CLOCK_TRAIN = """
import lightgbm


def train(train, features, target, seed):
    model = lightgbm.LGBMRegressor(n_estimators=20, num_leaves=7, random_state=seed, n_jobs=1, verbose=-1)
    return model.fit(train.select(features).to_numpy(), train[target].to_numpy())
"""


def truth(x: float, moved: bool, chance: random.Random) -> float:
    return 4 * x + (25.0 if moved else 0.0) + chance.gauss(0, 1)


def write_clock_project(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "flyball.toml").write_text(CLOCK_PROJECT)
    (folder / "train.py").write_text(CLOCK_TRAIN)
    chance = random.Random(1)
    start = datetime.now(UTC) - timedelta(minutes=10)
    lines = ["at,x,y"]
    for number in range(1200):
        x = chance.uniform(0, 10)
        at = start + timedelta(seconds=0.1 * number)
        lines.append(f"{at.isoformat()},{x:.4f},{truth(x, False, chance):.4f}")
    (folder / "rows.csv").write_text("\n".join(lines))
    return folder


def live_traffic(whole: Whole, rows: list[tuple[float, float]], span_seconds: float) -> list[Row]:
    """Send rows as they come, outcomes a second after; returns what was sent, with its event times."""
    sent: list[Row] = []
    due: list[tuple[float, str, float]] = []
    began = time.monotonic()
    lock = threading.Lock()

    def send_outcomes(until: float) -> None:
        with lock:
            ready = [item for item in due if item[0] <= until]
            due[:] = [item for item in due if item[0] > until]
        if ready:
            outcomes = [
                {"prediction_id": identity, "value": value, "at": datetime.fromtimestamp(at, UTC).isoformat()}
                for at, identity, value in ready
            ]
            status, answer = whole.call(
                whole.serve_port, "POST", "/v1/models/clock/outcomes", {"outcomes": outcomes}
            )
            assert status == 200, answer

    for number, (x, y) in enumerate(rows):
        wait = began + span_seconds * number / len(rows) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        at = datetime.now(UTC)
        body = {"rows": [{"x": x}], "at": at.isoformat()}
        status, answer = whole.call(whole.serve_port, "POST", "/v1/models/clock/predict", body)
        assert status == 200, answer
        sent.append(Row(at, {"x": x}, y))
        due.append((at.timestamp() + 1.0, answer["prediction_ids"][0], y))
        send_outcomes(time.time())
    time.sleep(1.2)
    send_outcomes(time.time() + 10)
    return sent


def first_decisions(whole: Whole) -> tuple[list, list]:
    found = decisions(whole, "clock")
    performance = [signal for signal in found["signals"] if signal[1] == "performance"]
    assert performance and found["retrainings"], f"{json.dumps(found, indent=1)}{whole.logs()}"
    return performance[0], found["retrainings"][0]


def test_wall_clock_traffic_and_its_replay_decide_alike(tmp_path, child_environment):
    source = write_clock_project(tmp_path / "clock-source")
    live = new_whole(tmp_path / "live", child_environment, source)
    again = new_whole(tmp_path / "again", child_environment, source)
    chance = random.Random(2)
    rows = []
    for number in range(600):
        x = chance.uniform(0, 10)
        rows.append((x, truth(x, number > 250, chance)))
    try:
        for whole in (live, again):
            whole.flyball("run")
            whole.flyball("deploy", "clock", "--why", "first version")
        live.up()
        sent = live_traffic(live, rows, span_seconds=36.0)
        live.wait(lambda: bool(decisions(live, "clock")["retrainings"]), "the live retraining", seconds=60)
        told = first_decisions(live)
        live.down()
        again.up()
        replay = Replay(
            "clock",
            sent,
            timedelta(seconds=1),
            serve_url=f"http://127.0.0.1:{again.serve_port}",
            control_url=f"http://127.0.0.1:{again.port}",
        )
        assert replay.run().errors == []
        again.wait(
            lambda: bool(decisions(again, "clock")["retrainings"]), "the replayed retraining", seconds=60
        )
        retold = first_decisions(again)
    finally:
        live.down()
        again.down()
    assert retold[0][:2] == told[0][:2]
    assert retold[1][0] == told[1][0]
    assert retold[1][2] == told[1][2]
