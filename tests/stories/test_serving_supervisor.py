"""A model server's processes: one per home and port, looked after, ended in order."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

from flyball_tests_serving import SOURCE, ModelServer, is_running, wait_until

from flyball.backends.home_socket import ask_socket


def test_a_server_without_models_is_live_and_ready_and_says_where_it_listens(model_server: ModelServer):
    status = model_server.start(workers=2).status()
    assert status is not None
    assert [worker["slot"] for worker in status["workers"]] == [0, 1]
    assert model_server.request("GET", "/v2/health/live").json == {"live": True}
    assert model_server.request("GET", "/v2/health/ready").status == 200
    assert model_server.predict("nobody", [{"x": 1}]).status == 404


def test_its_socket_is_its_owners_alone(model_server: ModelServer):
    model_server.start()
    assert stat.S_IMODE((model_server.home / "serve.sock").stat().st_mode) == 0o600


def test_a_second_server_on_the_same_home_is_refused_and_says_who_runs(model_server: ModelServer):
    model_server.start()
    first = model_server.process
    assert first is not None
    model_server.spawn()
    assert model_server.process is not None
    assert model_server.process.wait(10) == 2
    model_server.process = first
    assert f"already runs on {model_server.home} (process {first.pid})" in model_server.log
    assert model_server.status() is not None


def test_a_second_server_on_the_same_port_is_refused(model_server: ModelServer, tmp_path: Path):
    model_server.start()
    other = ModelServer(tmp_path / "other")
    other.home.mkdir()
    other.spawn(port=model_server.port)
    assert other.process is not None
    assert other.process.wait(10) == 2
    assert f"port {model_server.port} of 127.0.0.1 is taken" in other.log


def test_a_port_somebody_else_listens_on_is_refused(model_server: ModelServer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        model_server.spawn(port=taken.getsockname()[1])
        assert model_server.process is not None
        assert model_server.process.wait(10) == 2
    assert "is taken" in model_server.log


def test_a_host_others_can_reach_is_refused(model_server: ModelServer):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "flyball.serving.supervisor", "--host", "0.0.0.0", "--port", "0"],
        env={**os.environ, "FLYBALL_HOME": str(model_server.home), "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "FLYBALL_SERVE_ANONYMOUS=1" in done.stderr


def test_what_dies_is_started_again(model_server: ModelServer):
    status = model_server.start(workers=2).status()
    assert status is not None
    killed = [status["workers"][0]["pid"], status["shipper"]]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        now = model_server.status()
        return bool(now and now["ready"] and now["workers"][0]["pid"] not in (None, *killed))

    wait_until(is_back, 30, "a new worker")
    now = model_server.status()
    assert now is not None
    assert now["workers"][0]["restarts"] == 1
    assert now["shipper"] not in (None, *killed)


def test_nothing_outlives_a_supervisor_that_is_killed_and_the_next_one_takes_the_port(
    model_server: ModelServer,
):
    status = model_server.start(workers=2).status()
    assert status is not None and model_server.process is not None
    model_server.process.kill()
    model_server.process.wait()
    pids = [worker["pid"] for worker in status["workers"]] + [status["shipper"]]
    model_server.start(workers=2, port=status["port"])
    wait_until(lambda: not any(is_running(pid) for pid in pids), 30, "the end of the old processes")
    assert model_server.request("GET", "/v2/health/live").status == 200


def test_the_command_stop_ends_it_in_order_and_leaves_nothing_behind(model_server: ModelServer):
    status = model_server.start().status()
    assert status is not None and model_server.process is not None
    assert ask_socket(model_server.home / "serve.sock", {"command": "stop"}) == {"stopping": True}
    assert model_server.process.wait(20) == 0
    assert not is_running(status["workers"][0]["pid"])
    assert not is_running(status["shipper"])
    assert not (model_server.home / "serve.sock").exists()
    assert list((model_server.home / "objects" / "serving").glob("*")) == []


def test_a_command_nobody_knows_is_answered_and_changes_nothing(model_server: ModelServer):
    model_server.start()
    answer = ask_socket(model_server.home / "serve.sock", {"command": "explode"})
    assert answer is not None
    assert "unknown command 'explode'" in answer["error"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(model_server.home / "serve.sock"))
        raw.sendall(b"not json\n")
        assert raw.recv(100) == b""
    assert model_server.status() is not None


def test_a_home_with_a_long_path_has_a_socket_too(tmp_path: Path):
    home = tmp_path / ("long-" * 20) / ("name-" * 10)
    home.mkdir(parents=True)
    server = ModelServer(home)
    try:
        assert server.start().status() is not None
    finally:
        server.stop()
