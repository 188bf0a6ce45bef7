"""Damaged files of a home: what can go on goes on, and what can't says which file it is and what to do."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

# SQLite copies its log to the database file from a thousand pages on.
COPIED_FROM_BYTES = 1000 * 4096


def overwrite(path: Path, at: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + 64] = b"\xa5" * 64
    path.write_bytes(data)


def log_of(whole: Any, process: str) -> str:
    path = whole.home / "logs" / f"{process}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def test_a_damaged_key_costs_no_model_that_hashes_nothing(served: Any):
    (served.home / "log.key").write_bytes(b"short")
    served.up()
    assert served.predict()[0] == 2


def test_a_model_that_hashes_waits_for_its_key_and_says_so(whole: Any):
    with (whole.folder / "flyball.toml").open("a") as file:
        file.write('[log]\nhash = ["water"]\n')
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    (whole.home / "log.key").write_bytes(b"short")
    whole.up(wait=False)
    whole.wait(lambda: "log.key should hold the 32 bytes" in log_of(whole, "serve"), "what is wrong")
    assert whole.predict() == (None, None)
    (whole.home / "log.key").unlink()
    whole.wait(lambda: whole.predict()[0] == 1, "an answer", seconds=40)
    assert stat.S_IMODE((whole.home / "log.key").stat().st_mode) == 0o600


def test_damaged_workflows_are_named_in_one_line_and_serving_goes_on(served: Any):
    damaged = served.home / "workflows.db"
    overwrite(damaged)
    code, out, err = served.command("run")
    assert (code, out) == (3, "")
    assert f"error: {damaged} is damaged" in err and "a new one is made" in err and "Traceback" not in err
    assert served.command("doctor")[0] == 1
    assert str(damaged) in served.flyball("doctor", allow=(1,))
    served.up(wait=False)
    served.wait(lambda: served.predict()[0] == 2, "an answer")
    _goes_on_without_control_plane(served, damaged)
    assert "Traceback" not in log_of(served, "control")
    for path in served.home.glob("workflows.db*"):
        path.rename(path.with_name(f"aside-{path.name}"))
    served.wait_ready()


def test_without_its_damaged_workflows_a_home_goes_on_and_begins_again_what_was_under_way(whole: Any):
    text = (whole.folder / "train.py").read_text()
    slow = text.replace("time.sleep(0.0)", "print('in training', flush=True); time.sleep(1.0)")
    (whole.folder / "train.py").write_text(slow)
    run = whole.start("run")
    whole.wait(lambda: "in training" in whole.run_logs(), "the training")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    overwrite(whole.home / "workflows.db")
    for path in whole.home.glob("workflows.db*"):
        path.rename(path.with_name(f"aside-{path.name}"))
    whole.flyball("run")
    assert [(found["state"], found["version"]) for found in whole.json("runs")] == [("registered", 1)]


def test_a_damaged_database_leaves_the_model_server_answering(served: Any):
    damaged = served.home / "flyball.db"
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size // 2)
    code, _, err = served.command("status")
    assert code == 3 and f"error: {damaged} is damaged" in err and "Traceback" not in err
    assert "a copy of your own" in err and ".recover" in err
    served.up(wait=False)
    served.wait(lambda: served.predict()[0] == 2, "an answer")
    _goes_on_without_control_plane(served, damaged)


def _goes_on_without_control_plane(served: Any, damaged: Path) -> None:
    """It was started twice and could not, which is told once, and predictions are answered all the while."""
    served.wait(lambda: log_of(served, "control").count(f"{damaged} is damaged") >= 2, "what is wrong")
    assert served.predict()[0] == 2 and served.up_process.poll() is None
    said = log_of(served, "up")
    assert said.count(f"{damaged} is damaged") == 1 and "The model server answers all the same" in said


def _is_emptied(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0))


def test_a_write_ahead_log_damaged_in_its_middle_loses_its_tail_and_nothing_else(served: Any):
    served.up()
    # What stands in the database file already is never older than what is left of the log: were its frames copied there
    # before, pages of two moments would lie side by side, and SQLite calls that damaged.
    served.wait(lambda: _is_emptied(served.home / "flyball.db"), "an empty log")
    answered = [served.predict()[1] for _ in range(5)]
    served.settle()
    words = ("flyball up", "web.server", "operations.analyst")
    for word in words:
        for pid in served.pids(word):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    # While one of them still ends, its index of the log counts, and nobody looks at the log's checksums.
    served.wait(lambda: not any(served.pids(word) for word in words), "the end of all that use the database")
    log = served.home / "flyball.db-wal"
    assert 0 < log.stat().st_size < COPIED_FROM_BYTES
    overwrite(log, log.stat().st_size // 2)
    assert served.json("audit", "verify")["ok"]
    served.up()
    answered.append(served.predict()[1])
    served.settle()
    for prediction in answered:
        status, _ = served.call(served.port, "GET", f"/api/v1/predictions/{prediction}")
        assert status == 200
    assert served.json("audit", "verify")["ok"]


def test_damaged_control_files_of_a_stopped_home_are_written_anew(served: Any):
    for name in ("up.lock", "serve.lock", "controller.lock", "serve.sock"):
        (served.home / name).write_bytes(b"\xff\x00 no lock of ours")
    for folder in ("routes", "workers", "metrics"):
        (served.home / "cache" / folder).mkdir(parents=True, exist_ok=True)
        for name in ("plant.json", "0.json"):
            (served.home / "cache" / folder / name).write_bytes(b'{"format": 1, "mod')
    served.up()
    served.wait(lambda: served.predict()[0] == 2, "an answer")
    assert served.call(served.serve_port, "GET", "/metrics")[0] == 200
    assert served.command("status")[0] == 0
