"""The commands that look at what happened, after real traffic: in place, and from elsewhere over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

MODEL = "plant"
ROWS = [{"heat": 1.5, "water": 2.5}, {"heat": 9.0, "water": 0.5}, {"heat": None, "water": 4.0}]


class Traffic:
    """A running `flyball up` whose model has answered; the ids of its answers."""

    def __init__(self, whole: Any, answers: list[dict[str, Any]]) -> None:
        self.whole = whole
        self.answers = answers
        self.ids = [identity for answer in answers for identity in answer["prediction_ids"]]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Iterator[Traffic]:
    """Two versions, the second one refused by hand; predictions asked for in every form."""
    plugin = sys.modules["flyball_tests_whole"]
    whole = plugin.Whole(plugin.write_project(tmp_path_factory.mktemp("traffic") / MODEL), child_environment)
    whole.flyball("run", "--why", "the first")
    whole.flyball("deploy", MODEL, "--why", "to begin with")
    whole.up()
    (whole.folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    pl.DataFrame(ROWS).write_parquet(whole.folder / "rows.parquet")
    pl.DataFrame(ROWS).write_csv(whole.folder / "table.csv")
    (whole.folder / "one.json").write_text(json.dumps(ROWS[0]))
    forms = [json.dumps(ROWS[0]), json.dumps(ROWS), "one.json", "rows.jsonl", "rows.parquet", "table.csv"]
    answers = [whole.json("predict", MODEL, form) for form in forms]
    whole.wait(lambda: whole.json("status")["models"][0]["predictions"] >= 14, "the predictions in the log")
    yield Traffic(whole, answers)
    whole.down()


def test_every_form_of_rows_gets_the_same_answers(traffic: Traffic):
    one, several, *files = [answer["predictions"] for answer in traffic.answers]
    assert several[0] == one[0] == files[0][0]
    assert files[1] == files[2] == files[3] == several
    assert len(set(traffic.ids)) == 14


def test_rows_come_from_standard_input_too(traffic: Traffic):
    done = subprocess.run(
        [sys.executable, "-m", "flyball", "predict", MODEL, "-", "--json"],
        cwd=traffic.whole.folder,
        env=traffic.whole.environment,
        input=json.dumps(ROWS),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(done.stdout)["predictions"] == traffic.answers[1]["predictions"], done.stderr


def test_a_prediction_leads_to_its_data_and_its_data_to_the_version(traffic: Traffic):
    whole = traffic.whole
    steps = {step["what"]: step["name"] for step in whole.json("lineage", traffic.ids[0])}
    shown = whole.json("show", MODEL)
    assert steps["version"] == f"{MODEL}@1"
    assert (steps["data"], steps["bundle"]) == (shown["version"]["snapshot"], shown["version"]["digest"])
    assert steps["run"] == shown["version"]["run_id"]
    assert whole.json("lineage", f"{MODEL}@champion") == whole.json("lineage", traffic.ids[0])

    back = whole.json("lineage", steps["data"][:19])
    assert back[0]["what"] == "data" and "300 rows of rows.csv" in back[0]["name"]
    assert {"what": "data of", "name": f"{MODEL}@1", "link": f"/models/{MODEL}/versions/1"} in back


def test_a_replay_answers_the_same(traffic: Traffic):
    for identity in (traffic.ids[0], traffic.ids[3]):
        result = traffic.whole.json("replay", identity)
        assert result["identical"] and result["agrees"] and result["difference"] == 0
        assert result["prediction"] == result["again"]
    assert "identical" in traffic.whole.flyball("replay", traffic.ids[1])


def test_outcomes_come_as_csv_and_parquet_again_and_again_and_the_last_holds(traffic: Traffic):
    whole, ids = traffic.whole, traffic.ids
    (whole.folder / "truth.csv").write_text("prediction_id,value\n" + "".join(f"{i},3.5\n" for i in ids[:4]))
    pl.DataFrame({"prediction_id": ids[3:6], "value": [7.25] * 3}).write_parquet(
        whole.folder / "truth.parquet"
    )
    for file, count in (("truth.csv", 4), ("truth.csv", 4), ("truth.parquet", 3)):
        assert whole.json("outcomes", "add", MODEL, file) == {"model": MODEL, "accepted": count}

    def status() -> dict[str, Any]:
        return dict(whole.json("status")["models"][0])

    whole.wait(lambda: status()["outcomes"] == 6, "six outcomes")
    assert status()["pending_outcomes"] == 0
    found = whole.call(whole.port, "GET", f"/api/v1/predictions/{ids[3]}")[1]
    assert found["outcome"]["value"] == 7.25


def test_a_version_is_shown_with_its_evidence_and_history_says_who_moved_it(traffic: Traffic):
    whole = traffic.whole
    shown = whole.flyball("show", f"{MODEL}@1")
    assert "aliases      champion" in shown and "the first" in shown and "evaluation" in shown
    (move,) = whole.json("history", MODEL)
    assert (move["name"], move["from_number"], move["to_number"]) == ("champion", None, 1)
    assert "first deployment" in move["why"] and move["why"].endswith("(to begin with)")
    assert whole.json("history", MODEL, "--at", "2020-01-01") == []
    assert whole.json("history", MODEL, "--at", "2199-01-01") == [move]


def test_why_and_monitor_say_what_is_known_so_far(traffic: Traffic):
    whole = traffic.whole
    assert f"Version 1 of {MODEL} is champion" in whole.json("why", MODEL)["text"]
    (checks,) = whole.json("monitor", MODEL)
    assert checks["model"] == MODEL and "no window has been judged yet" in checks["summary"]
    assert whole.json("signals") == whole.json("incidents") == []
    assert "(none)" in whole.flyball("signals", MODEL)


def test_the_audit_trail_is_verified_exported_and_proved_by_its_head(traffic: Traffic):
    whole = traffic.whole
    verified = whole.json("audit", "verify")
    assert verified["ok"] and verified["entries"] >= 9
    head = whole.flyball("audit", "verify").split("head")[1].split()[0]
    assert "the chain holds" in whole.flyball("audit", "verify", "--head", head)
    assert whole.flyball("audit", "verify", "--head", f"999:{head.partition(':')[2]}", allow=(1,))

    exported = whole.json("audit", "export", "-o", "trail.jsonl")
    lines = (whole.folder / "trail.jsonl").read_text().splitlines()
    assert exported["entries"] == len(lines) == json.loads(lines[-1])["number"]
    newest = whole.json("audit", "log", "--model", MODEL, "--limit", "3")
    assert [entry["number"] for entry in newest] == sorted((e["number"] for e in newest), reverse=True)
    assert whole.json("doctor") and all(found["state"] == "right" for found in whole.json("doctor"))


def test_runs_are_listed_shown_and_their_logs_printed(traffic: Traffic):
    whole = traffic.whole
    (run,) = whole.json("runs", "--model", MODEL)
    assert run["version"] == 1 and run["why"] == "the first"
    steps = whole.json("run", "show", run["id"])["steps"]
    assert [step["name"] for step in steps] == [
        "source", "environment", "prepare", "train", "evaluate", "register",
    ]  # fmt: skip
    lines = whole.json("run", "logs", run["id"])["lines"]
    assert lines == whole.flyball("runs", "logs", run["id"]).splitlines() and len(lines) > 6


READ = (
    ("models",),
    ("versions", MODEL),
    ("show", MODEL),
    ("history", MODEL),
    ("lineage", f"{MODEL}@1"),
    ("why", MODEL),
    ("runs",),
    ("monitor", MODEL),
    ("signals",),
    ("incidents",),
    ("rollout", "status", MODEL),
    ("audit", "log"),
    ("audit", "verify"),
)


def test_every_reading_command_says_the_same_from_elsewhere(traffic: Traffic, tmp_path: Path):
    # Over HTTP, without a home, and with nothing installed but the base.
    whole = traffic.whole
    code = (
        "import sys\n"
        "for name in ('sqlalchemy', 'polars', 'dbos', 'numpy', 'obstore', 'litestar'): sys.modules[name] = None\n"
        "from flyball.cli.main import main\nmain()\n"
    )
    environment = {
        **{k: v for k, v in whole.environment.items() if not k.startswith("FLYBALL_")},
        "FLYBALL_URL": f"http://127.0.0.1:{whole.port}",
    }

    def elsewhere(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    for arguments in READ:
        assert elsewhere(*arguments) == whole.flyball(*arguments), arguments
    assert json.loads(elsewhere("models", "--json"))[0]["champion"] == 1
    answer = elsewhere("predict", MODEL, json.dumps(ROWS[0]), "--url", f"http://127.0.0.1:{whole.serve_port}")
    assert f"{MODEL}@1 (champion)" in answer
    assert list(tmp_path.iterdir()) == []


def test_a_second_version_is_deployed_followed_and_taken_back_from_elsewhere(traffic: Traffic):
    whole = traffic.whole
    whole.flyball("run", "--set", "train.params.trees=11", "--why", "more trees")
    assert "rollout rol_" in whole.flyball("deploy", MODEL, "--strategy", "shadow", "--why", "try")
    status = whole.flyball("rollout", "status", MODEL)
    assert "shadow" in status and "left" in status and "waits for" in status
    code, _, err = whole.command("deploy", MODEL)
    assert code == 2 and "rollout" in err
    assert whole.json("rollout", "pause", MODEL, "--why", "lunch")["state"] == "paused"
    assert whole.json("rollout", "resume", MODEL, "--why", "back")["state"] == "running"
    assert whole.json("rollout", "promote", MODEL, "--why", "fine")["state"] == "promoted"
    assert whole.json("show", f"{MODEL}@champion")["version"]["number"] == 2
    assert "no version to go to" in whole.flyball("rollback", MODEL, "--why", "no")
    code, _, err = whole.command("rollback", MODEL, "--why", "once more")
    assert code == 2 and "version 2 was rejected" in err and "--to 2" in err
    code, out, _ = whole.command("deploy", f"{MODEL}@2", "--strategy", "immediate", "--wait")
    assert code == 0 and "promoted" in out
    names = [(move["name"], move["to_number"]) for move in whole.json("history", MODEL)]
    assert [number for name, number in names if name == "champion"] == [1, 2, 1, 2]


def test_monitor_analyses_in_place_what_a_model_server_alone_has_logged(whole: Any):
    """No controller at work: `flyball serve` answers and ships, `flyball monitor` folds and judges."""
    whole.flyball("run")
    whole.flyball("deploy", MODEL)
    whole.start("serve", "--port", str(whole.serve_port))
    whole.wait(lambda: whole.call(whole.serve_port, "GET", "/v2/health/ready")[0] == 200, "the model server")
    path = f"/v1/models/{MODEL}"
    for hour in range(3):
        rows = [{"heat": (n * 7 % 100) / 10, "water": (n * 3 % 50) / 10} for n in range(240)]
        body = {"rows": rows, "at": [f"2026-03-01T{hour:02d}:{n // 4:02d}:00Z" for n in range(240)]}
        status, answer = whole.call(whole.serve_port, "POST", f"{path}/predict", body)
        assert status == 200
        outcomes = [
            {"prediction_id": identity, "value": 3 * row["heat"] - 2 * row["water"], "at": moment}
            for identity, row, moment in zip(answer["prediction_ids"], rows, body["at"], strict=True)
        ]
        assert whole.call(whole.serve_port, "POST", f"{path}/outcomes", {"outcomes": outcomes})[0] == 200

    def judged() -> list[dict[str, Any]]:
        return [window for window in whole.json("monitor", MODEL)[0]["windows"] if window["loss"] is not None]

    whole.wait(lambda: len(judged()) >= 2, "two judged windows")
    window = judged()[-1]
    assert window["rows"] == window["labelled"] == 240 and 0 < window["loss"] < 10
    said = whole.flyball("monitor", MODEL)
    assert "2026-03-01 00:00:00Z" in said and "240" in said
