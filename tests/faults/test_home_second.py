"""Who comes second to a home, a port or a project: a clear word, or adoption; the first one never notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import suppress

from flyball.backends.db.database import open_database


def kill_all(whole) -> None:
    """SIGKILL for everything that runs on a home."""
    for _ in range(3):
        for pid in whole.pids("flyball"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    whole.up_process.wait()


def test_who_comes_second_to_a_home_is_told_and_the_first_goes_on(served):
    served.up()
    began = time.monotonic()
    code, _, said = served.command("up", "--port", "1", "--serve-port", "2")
    assert code == 2
    assert f"process {served.up_process.pid}" in said
    assert "already runs" in said
    code, _, said = served.command("serve", "--port", "3")
    assert code == 2
    assert f"process {served.pids('serving.supervisor')[0]}" in said
    assert time.monotonic() - began < 10
    assert "Traceback" not in said
    assert served.predict()[0] == 2
    assert served.call(served.port, "GET", "/api/v1/health")[0] == 200


def test_a_taken_port_is_named_and_nothing_is_left_running(served):
    with socket.create_server(("127.0.0.1", served.port)):
        code, _, said = served.command(
            "up", "--port", str(served.port), "--serve-port", str(served.serve_port)
        )
        assert code == 2
        assert f"port {served.port}" in said
        assert "--port" in said
        assert served.pids("flyball") == []
    with socket.create_server(("127.0.0.1", served.serve_port)):
        code, _, said = served.command(
            "up", "--port", str(served.port), "--serve-port", str(served.serve_port)
        )
        assert code == 2
        assert f"port {served.serve_port}" in said
        assert "--serve-port" in said
        assert served.pids("flyball") == []
    served.up()
    assert served.predict()[0] == 2


def test_an_up_that_fails_leaves_the_model_server_that_it_found(served):
    server = served.start("serve", "--port", str(served.serve_port))
    served.wait(lambda: served.predict()[0] == 2, "the model server")
    with socket.create_server(("127.0.0.1", served.port)):
        code, _, said = served.command("up", "--port", str(served.port), "--serve-port", "1")
    assert code == 2
    assert f"process {server.pid}" in said
    assert served.predict()[0] == 2
    assert server.poll() is None


def test_up_adopts_the_model_server_it_finds_on_whatever_port(served):
    server = served.start("serve", "--port", str(served.serve_port))
    served.wait(lambda: served.predict()[0] == 2, "the model server")
    other = socket.create_server(("127.0.0.1", 0)).getsockname()[1]
    served.up_process = served.start("up", "--port", str(served.port), "--serve-port", str(other))
    served.wait_ready()
    assert "adopted" in served.log("up")
    assert str(other) in served.log("up")
    assert served.pids("serving.supervisor") == [server.pid]
    status = json.loads(served.flyball("status", "--json"))
    assert status["processes"]["model server"] == f"process {server.pid}, port {served.serve_port}"
    # Ctrl-C ends all of it, the adopted server too.
    served.up_process.send_signal(signal.SIGINT)
    assert served.up_process.wait(30) == 0
    assert served.pids("flyball") == []


def test_up_starts_again_after_everything_was_killed(served):
    served.up()
    identities = [served.predict()[1] for _ in range(20)]
    kill_all(served)
    assert served.pids("flyball") == []
    served.up()
    assert "adopted" not in served.log("up")
    assert served.predict()[0] == 2
    served.settle()
    logged = [served.call(served.port, "GET", f"/api/v1/predictions/{i}")[0] for i in identities]
    assert logged == [200] * 20
    assert served.flyball("doctor")


def test_equal_runs_at_once_are_one_run_and_another_one_is_its_own(whole):
    first, second = whole.start("run", "--why", "first"), whole.start("run", "--why", "second")
    other = whole.start("run", "--set", "train.params.trees=14")
    assert [process.wait(100) for process in (first, second, other)] == [0, 0, 0]
    runs = whole.json("runs")
    assert {run["state"] for run in runs} == {"registered"}
    assert sorted(version["number"] for version in whole.json("versions", "plant")) == [1, 2]
    assert len([run for run in runs if not run["cached"]]) == 2
    assert whole.flyball("doctor")


def test_who_opens_a_new_database_waits_for_another_process_that_makes_it(tmp_path):
    file = tmp_path / "flyball.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # where SQLite refuses to change the journal's mode without waiting
    made = threading.Timer(0.3, other.rollback)
    made.start()
    database = open_database(f"sqlite:///{file}")
    try:
        with database.read() as conn:
            assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    finally:
        made.join()
        database.close()
        other.close()
