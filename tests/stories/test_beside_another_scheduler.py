"""Two models on a real control plane: one watched by Flyball's own clock, one only when a scheduler elsewhere asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

flyball, runs = sys.modules["flyball_tests_whole"], sys.modules["flyball_tests_runs"]

PROJECT = """{top}
[model]
name = "{name}"
task = "regression"
target = "y"
time = "at"
[data]
source = "rows.csv"
exclude = ["c"]
[train]
entry = "train:train"
frames = "numpy"
[monitor]
window = "1d"
min_rows = 10
[retrain]
on = ["performance"]
from = "log"
"""
FIRST_LIVE = datetime(2025, 1, 18, tzinfo=UTC)
DAYS, A_DAY = 9, 48
# Far more than noise: the world is no more what the model was trained on.
SHIFT = 25.0


def write_project(folder: Path, name: str, top: str) -> None:
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(runs.LINE)
    (folder / "rows.csv").write_text(runs.make_rows())
    (folder / "flyball.toml").write_text(PROJECT.format(name=name, top=top))


def live(whole: Any, model: str, first: datetime, days: int, shift: float) -> None:
    """Rows with their outcomes, which are as those of training but for the shift."""
    moments = [first + timedelta(days=number / A_DAY) for number in range(A_DAY * days)]
    xs = [number * 7 % 10 + 0.5 for number in range(A_DAY * days)]
    asked = {
        "rows": [{"x": x} for x in xs],
        "at": [moment.isoformat() for moment in moments],
        "ids": [f"{model}-{moment:%d%H%M}" for moment in moments],
    }
    status, answer = whole.call(whole.serve_port, "POST", f"/v1/models/{model}/predict", asked)
    assert status == 200, answer
    outcomes = [
        {"prediction_id": known, "value": 2 * x + 1 + shift + x % 1 / 10, "at": moment.isoformat()}
        for known, x, moment in zip(answer["prediction_ids"], xs, moments, strict=True)
    ]
    status, answer = whole.call(
        whole.serve_port, "POST", f"/v1/models/{model}/outcomes", {"outcomes": outcomes}
    )
    assert status == 200, answer


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Iterator[Any]:
    """`line` with external schedules and `curve` with Flyball's own, both served, with nine days of the log read."""
    folder = tmp_path_factory.mktemp("town")
    write_project(folder / "line", "line", 'schedules = "external"')
    write_project(folder / "curve", "curve", "")
    whole = flyball.Whole(folder / "line", child_environment)
    for name in ("line", "curve"):
        whole.folder = folder / name
        whole.flyball("run")
        whole.flyball("deploy", name)
    whole.folder = folder / "line"
    try:
        whole.up()
        yield whole
    finally:
        whole.down()


def checks(whole: Any, model: str) -> dict[str, Any]:
    status, found = whole.call(whole.port, "GET", f"/api/v1/models/{model}/checks")
    return found[0] if status == 200 else {"windows": []}


def counted(whole: Any, model: str) -> dict[str, Any]:
    return whole.call(whole.port, "GET", f"/api/v1/models/{model}")[1]


def progress(whole: Any, model: str) -> dict[str, Any]:
    return whole.call(whole.port, "GET", f"/api/v1/models/{model}/progress")[1]


def monitor(whole: Any, *more: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, checks and messages of `flyball monitor`, over the address of the control plane if that is set."""
    code, out, err = whole.command("monitor", "line", "--json", *more)
    return code, json.loads(out) if out else [], err


def test_two_models_of_their_own_classes_that_are_loaded_at_once_both_answer(town: Any):
    """Each in a process of its own: what is started for the one is not put away when the other is served."""
    for model in ("line", "curve"):
        status, answer = town.call(
            town.serve_port, "POST", f"/v1/models/{model}/predict", {"rows": [{"x": 1.5}], "ids": ["first"]}
        )
        assert (status, answer["version"]) == (200, 1)


def test_a_model_with_external_schedules_is_judged_when_asked_and_never_before(town: Any):
    for model in ("line", "curve"):
        live(town, model, FIRST_LIVE, DAYS, shift=0.0)
    town.wait(lambda: len(checks(town, "curve")["windows"]) == 8, "the judgement of the other model")
    town.wait(lambda: counted(town, "line")["outcomes"] == A_DAY * DAYS, "the log of this one")
    assert checks(town, "line")["windows"] == []
    assert checks(town, "line")["schedules"] == "external"
    assert "is retrained when `flyball retrain` is" in town.json("why", "line")["text"]
    states = {model["model"]: model["state"] for model in town.json("status")["models"]}
    assert states == {"line": "calm, schedules external", "curve": "calm"}

    code, (found,), err = monitor(town, "--wait", "--timeout", "50s")
    assert (code, found["verdict"], len(found["windows"])) == (0, "nothing found", 8), err

    # The same over HTTP: under a key the answer stays as it was, whatever has happened since.
    town.environment["FLYBALL_URL"] = f"http://127.0.0.1:{town.port}"
    code, first, err = monitor(town, "--key", "dag/1")
    assert code == 0, err
    live(town, "line", FIRST_LIVE + timedelta(days=DAYS), 4, shift=SHIFT)
    town.wait(lambda: counted(town, "line")["outcomes"] == A_DAY * (DAYS + 4), "the days after the change")
    assert checks(town, "line")["windows"] == found["windows"]
    assert monitor(town, "--key", "dag/1")[:2] == (0, first)
    code, (alarmed,), err = monitor(town, "--key", "dag/2")
    assert (code, alarmed["verdict"]) == (1, "alarm"), (err, alarmed)
    del town.environment["FLYBALL_URL"]
    assert monitor(town, "--key", "dag/2")[:2] == (1, [alarmed])
    code, _, err = town.command("monitor", "curve", "--key", "dag/2")
    assert code == 2 and "asked for the windows of line, not of curve" in err

    # The alarm starts nothing: the retraining is the scheduler's to call.
    (incident,) = town.json("incidents", "--model", "line")
    told = [entry["text"] for entry in town.json("incidents", "show", incident["id"])["entries"]]
    assert any("`flyball retrain` is yours to call" in text for text in told), told
    town.wait(lambda: not progress(town, "line")["busy"], "the end of everything that news can start")
    assert [run["model"] for run in town.json("runs")] == ["curve", "line"]


@pytest.mark.long
def test_without_a_control_plane_the_commands_do_the_work_up_to_the_candidates_rollout(town: Any):
    # What the test above has sent already is repeated under its ids, which changes nothing.
    live(town, "line", FIRST_LIVE, DAYS, shift=0.0)
    live(town, "line", FIRST_LIVE + timedelta(days=DAYS), 5, shift=SHIFT)
    town.wait(lambda: counted(town, "line")["outcomes"] == A_DAY * (DAYS + 5), "all days")
    town.down()
    before = town.json("signals", "line")
    code, (found,), err = monitor(town, "--wait")
    assert (code, found["verdict"]) == (1, "alarm"), err
    assert len(town.json("signals", "line")) > len(before)
    code, out, err = town.command("retrain", "line", "--key", "dag/3", "--wait", "--json")
    ended = json.loads(out)
    assert (code, ended["state"], ended["version"]) == (0, "ready", 2), ended["gates"][0]["because"]
    assert ended["rollout"]["state"] == "running"
    code, out, err = town.command("retrain", "line", "--key", "dag/3", "--wait")
    assert code == 0 and "its rollout is running" in out and "does the work itself" not in err
