"""What an executor promises about the child processes it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.executors.local import end_children
from flyball.backends.executors.port import ChildResult, open_executor
from flyball.core.errors import ExecutorFailed

Run = Callable[..., ChildResult]
HEAD = "import json, os, sys, time\npayload = json.load(open(sys.argv[1]))\n"
GIVE = "\njson.dump({}, open(sys.argv[2], 'w'))\n"


@pytest.fixture(params=["local"])
def run(request: pytest.FixtureRequest, tmp_path: Path, child_environment: dict[str, str]) -> Run:
    """Runs a text as the module of a child process."""
    executor = open_executor(request.param)
    folder, modules = tmp_path / "folder", tmp_path / "modules"
    folder.mkdir()
    modules.mkdir()

    def run(text: str, payload: dict[str, Any] | None = None, **options: Any) -> ChildResult:
        (modules / "job.py").write_text(HEAD + text)
        path = f"{child_environment['PYTHONPATH']}{os.pathsep}{modules}"
        options.setdefault("timeout_seconds", 30)
        options["environment"] = {"PYTHONPATH": path, **options.get("environment", {})}
        return executor.run("job", payload or {}, folder=folder, **options)

    return run


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_child_gets_its_payload_and_gives_its_result(run: Run) -> None:
    found = run(GIVE.format("{'doubled': payload['x'] * 2, 'é': [None, 1.5]}"), {"x": 21})
    assert found.result == {"doubled": 42, "é": [None, 1.5]}
    assert (found.exit_code, found.timed_out, found.out_of_memory, found.cancelled) == (
        0,
        False,
        False,
        False,
    )
    assert found.max_rss_mb > 5
    assert 0 < found.seconds < 30


def test_output_of_both_streams_arrives_line_by_line_while_the_child_runs(run: Run) -> None:
    arrived: list[tuple[str, float]] = []
    text = "print('first')\nsys.stderr.write('second\\n')\ntime.sleep(0.5)\nprint('é\\n' + 'x' * 100_000)\n"
    run(text, on_line=lambda line: arrived.append((line, time.monotonic())))
    lines = [line for line, _ in arrived]
    assert lines[:3] == ["first", "second", "é"]
    assert "".join(lines[3:]) == "x" * 100_000
    assert max(map(len, lines)) <= 65_536
    assert arrived[2][1] - arrived[1][1] > 0.3


def test_a_child_that_raises_is_told_with_its_traceback(run: Run) -> None:
    lines: list[str] = []
    found = run("raise ValueError('no such column')", on_line=lines.append)
    assert (found.exit_code, found.result) == (1, None)
    assert lines[-1] == "ValueError: no such column"


def test_a_result_that_is_no_json_object_is_no_result(run: Run) -> None:
    for text in ("open(sys.argv[2], 'w').write('{')", GIVE.format("[1]"), "pass"):
        assert run(text).result is None


def test_a_child_that_hangs_is_ended_with_all_it_has_started(run: Run) -> None:
    lines: list[str] = []
    text = "os.fork()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(600)\n"
    began = time.monotonic()
    found = run(text, timeout_seconds=1.0, on_line=lines.append)
    assert time.monotonic() - began < 5
    assert (found.timed_out, found.exit_code, found.out_of_memory) == (True, -signal.SIGKILL, False)
    assert len(lines) == 2
    wait_until(lambda: all(is_gone(int(line)) for line in lines))


def test_what_a_child_leaves_running_ends_with_it(run: Run) -> None:
    lines: list[str] = []
    text = "if os.fork() == 0:\n    print(os.getpid())\n    time.sleep(600)\ntime.sleep(0.3)\n" + GIVE.format(
        "{}"
    )
    began = time.monotonic()
    found = run(text, on_line=lines.append)
    assert time.monotonic() - began < 5
    assert found.result == {}
    wait_until(lambda: is_gone(int(lines[0])))


def test_a_cancelled_child_is_ended(run: Run) -> None:
    began = time.monotonic()
    found = run("time.sleep(600)", cancelled=lambda: time.monotonic() - began > 0.3)
    assert (found.cancelled, found.timed_out) == (True, False)
    assert time.monotonic() - began < 5


def test_a_process_that_ends_can_end_all_its_children(run: Run) -> None:
    with ThreadPoolExecutor() as threads:
        began = time.monotonic()
        waiting = threads.submit(run, "time.sleep(600)")
        wait_until(lambda: end_children() == 1)
        assert waiting.result(timeout=5).cancelled
    assert time.monotonic() - began < 10
    assert end_children() == 0


def test_a_child_beyond_its_memory_is_ended_and_told(run: Run) -> None:
    lines: list[str] = []
    text = "held = []\nwhile True:\n    held.append(bytearray(8_000_000))\n"
    found = run(text, memory_limit_mb=300, on_line=lines.append)
    assert found.out_of_memory
    assert found.exit_code != 0
    # Looked at several times a second, so a busy machine lets it grow a little further.
    assert found.max_rss_mb < 2000
    assert any("memory limit" in line for line in lines)
    assert run(GIVE.format("{'held': len(bytearray(50_000_000))}"), memory_limit_mb=300).result is not None


def test_a_child_that_is_killed_by_the_system_counts_as_out_of_memory(run: Run) -> None:
    found = run("os.kill(os.getpid(), 9)")
    assert (found.exit_code, found.out_of_memory, found.timed_out) == (-9, True, False)


def test_a_child_works_in_its_folder_which_can_not_shadow_modules(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder" / "json.py").write_text("raise RuntimeError('shadowed')")
    found = run(GIVE.format("{'folder': os.getcwd(), 'path': sys.path}"))
    assert found.result is not None
    assert found.result["folder"] == str(tmp_path / "folder")
    assert "" not in found.result["path"]
    assert found.result["folder"] not in found.result["path"]


def test_a_child_sees_no_credentials(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLYBALL_TOKEN", "FLYBALL_DATABASE", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "s3cret")
    found = run(GIVE.format("{'all': dict(os.environ)}"), environment={"OMP_NUM_THREADS": "1"})
    assert found.result is not None
    assert "s3cret" not in found.result["all"].values()
    assert found.result["all"]["OMP_NUM_THREADS"] == "1"


def test_a_listener_that_fails_ends_the_child_and_is_heard(run: Run) -> None:
    def refuse(line: str) -> None:
        raise OSError(28, "No space left on device")

    began = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        run("print('x')\ntime.sleep(600)", on_line=refuse)
    assert time.monotonic() - began < 5


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExecutorFailed, match="nowhere"):
        open_executor("local").run("job", {}, folder=tmp_path / "nowhere", timeout_seconds=1)


def test_a_child_dies_with_its_killed_parent(tmp_path: Path, child_environment: dict[str, str]) -> None:
    (tmp_path / "job.py").write_text("import os, sys, time\nprint(os.getpid())\ntime.sleep(600)\n")
    parent_program = (
        "import os, sys, threading; from pathlib import Path\n"
        "from flyball.backends.executors.local import run_child\n"
        "say = lambda line: print(line, flush=True)\n"
        "run = lambda: run_child('job', {}, folder=Path('.'), timeout_seconds=600, on_line=say,\n"
        "                        environment={'PYTHONPATH': os.environ['PYTHONPATH']})\n"
        "threading.Thread(target=run).start()\n"
    )
    path = f"{child_environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    with subprocess.Popen(
        [sys.executable, "-c", parent_program],
        stdout=subprocess.PIPE,
        env={**child_environment, "PYTHONPATH": path},
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not is_gone(child)
        parent.kill()
        wait_until(lambda: is_gone(child))
