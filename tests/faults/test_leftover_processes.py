"""Processes that user code leaves behind, in sessions of their own: none outlives its child, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.executors.local import run_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a reaper")

# Forks twice with a session in between, as daemons do, and tells its number once nobody above it is left.
DAEMON = """
import json, os, signal, sys, time

def start_daemon(*, stubborn=False):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    if stubborn:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    while open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[0] == "Z":
        time.sleep(0.001)
    open(f"daemon-{os.getpid()}", "x").close()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)
    os._exit(0)

def wait_for_daemons(count):
    while sum(name.startswith("daemon-") for name in os.listdir()) < count:
        time.sleep(0.01)
"""


@pytest.fixture
def run(tmp_path: Path, child_environment: dict[str, str]) -> Callable[..., Any]:
    """Runs a text as the module of a child process; `lines` gets what it prints."""
    (tmp_path / "daemon.py").write_text(DAEMON)

    def run(text: str, lines: list[str], **options: Any) -> Any:
        (tmp_path / "job.py").write_text("from daemon import *\n" + text)
        environment = {"PYTHONPATH": f"{child_environment['PYTHONPATH']}{os.pathsep}{tmp_path}"}
        options.setdefault("timeout_seconds", 30)
        return run_child("job", {}, folder=tmp_path, environment=environment, on_line=lines.append, **options)

    return run


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def wait_until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_daemon_that_training_started_is_gone_when_the_child_has_ended(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    text = (
        "start_daemon(stubborn=True)\nwait_for_daemons(1)\njson.dump({'done': 1}, open(sys.argv[2], 'w'))\n"
    )
    found = run(text, lines)
    assert (found.exit_code, found.timed_out, found.result) == (0, False, {"done": 1})
    assert len(lines) == 1
    assert is_gone(int(lines[0]))  # at once: what the child started has ended before the child has


def test_a_family_of_daemons_that_start_daemons_is_gone_as_well(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    text = (
        "if os.fork() == 0:\n    os.setsid()\n    for _ in range(5):\n        start_daemon()\n"
        "    time.sleep(600)\n"
        "if os.fork() == 0:\n    os.setpgid(0, 0)\n    start_daemon()\n    os._exit(0)\n"
        "wait_for_daemons(6)\nraise SystemExit(3)\n"
    )
    assert run(text, lines).exit_code == 3
    assert len(lines) == 6
    assert all(is_gone(int(line)) for line in lines)


def test_a_daemon_is_gone_when_time_is_up(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    found = run("start_daemon()\ntime.sleep(600)", lines, timeout_seconds=2)
    assert (found.timed_out, found.exit_code, found.out_of_memory) == (True, -signal.SIGKILL, False)
    assert len(lines) == 1
    assert is_gone(int(lines[0]))


def test_a_daemon_is_gone_when_the_child_is_cancelled(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    found = run("start_daemon()\ntime.sleep(600)", lines, cancelled=lambda: bool(lines))
    assert (found.cancelled, found.timed_out) == (True, False)
    assert is_gone(int(lines[0]))


def test_a_daemon_is_gone_when_the_child_crashes(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    text = "start_daemon()\nwait_for_daemons(1)\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    assert run(text, lines).exit_code == -signal.SIGSEGV
    assert is_gone(int(next(line for line in lines if line.isdecimal())))


def test_what_user_code_sends_to_its_group_does_not_save_its_daemons(run: Callable[..., Any]) -> None:
    lines: list[str] = []
    text = "start_daemon()\nwait_for_daemons(1)\nos.killpg(0, signal.SIGKILL)\n"
    assert run(text, lines).exit_code == -signal.SIGKILL
    assert is_gone(int(lines[0]))


def test_a_child_whose_guard_hangs_is_ended_all_the_same(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyball.backends.executors.local._GUARD_SECONDS", 0.3)
    lines: list[str] = []
    text = (
        "assert 'executors.child' in open(f'/proc/{os.getppid()}/cmdline').read()\n"
        "os.kill(os.getppid(), signal.SIGSTOP)\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    found = run(text, lines, timeout_seconds=1)
    assert found.timed_out
    wait_until(lambda: is_gone(int(lines[0])))


def test_a_daemon_is_gone_when_the_parent_is_killed(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    (tmp_path / "job.py").write_text(
        "from daemon import *\nstart_daemon()\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    parent_program = (
        "import os; from pathlib import Path\n"
        "from flyball.backends.executors.local import run_child\n"
        "run_child('job', {}, folder=Path('.'), timeout_seconds=600, on_line=lambda line: print(line, flush=True),\n"
        "          environment={'PYTHONPATH': os.environ['PYTHONPATH']})\n"
    )
    path = f"{child_environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    with subprocess.Popen(
        [sys.executable, "-c", parent_program],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**child_environment, "PYTHONPATH": path},
        text=True,
    ) as parent:
        assert parent.stdout is not None
        started = [int(parent.stdout.readline()) for _ in range(2)]
        assert not any(is_gone(pid) for pid in started)
        parent.kill()
        wait_until(lambda: all(is_gone(pid) for pid in started))
