"""Folders for temporary files: gone with their process, or with the next start after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.executors.local import run_child
from flyball.backends.scratch import ScratchFolder, sweep_scratch

HOLDER = """
import sys, time
from flyball.backends.scratch import ScratchFolder
folder = ScratchFolder("held")
(folder.path / "inside").mkdir()
(folder.path / "inside" / "file").write_text("something")
print(folder.path, flush=True)
time.sleep(60)
"""
ABOUT_TEMPORARY_FILES = """
import json, sys, tempfile
with open(sys.argv[2], "w") as file:
    json.dump({"at": tempfile.mkdtemp()}, file)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that this process and its children take for the system's temporary one."""
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def hold(environment: dict[str, str], temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**environment, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_in_use_stays_and_that_of_a_killed_process_goes(
    temporary: Path, child_environment: dict[str, str]
):
    process, folder = hold(child_environment, temporary)
    with process, ScratchFolder("mine") as mine:
        assert sweep_scratch() == 0
        assert folder.is_dir() and mine.is_dir()
        process.kill()
        process.wait()
        assert sweep_scratch() == 1
        assert not folder.exists() and mine.is_dir()
    assert list(temporary.iterdir()) == []


def test_what_is_no_folder_of_ours_is_left_alone(temporary: Path, tmp_path: Path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (temporary / "flyball-tmp-link").symlink_to(kept)
    (temporary / "flyball-tmp-file").write_text("a file")
    (temporary / "flyball-pg").mkdir()
    assert sweep_scratch() == 0
    assert kept.is_dir() and len(list(temporary.iterdir())) == 3


def wait_for_a_sweep(temporary: Path, sweeper: subprocess.Popen[bytes]) -> None:
    """Leave a dead folder and wait until the sweeper, which has to be at work, has removed it."""
    dead = temporary / "flyball-tmp-dead"
    dead.mkdir()
    deadline = time.monotonic() + 60
    while dead.exists():
        assert sweeper.poll() is None, "the sweeper has ended"
        assert time.monotonic() < deadline, "nothing is swept"
        time.sleep(0.01)


def test_folders_that_are_made_while_others_sweep_are_never_swept(
    temporary: Path, child_environment: dict[str, str]
):
    program = "from flyball.backends.scratch import sweep_scratch\nwhile True: sweep_scratch()"
    environment = {**child_environment, "TMPDIR": str(temporary)}
    sweeper = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        wait_for_a_sweep(temporary, sweeper)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            with ScratchFolder("mine") as mine:
                (mine / "file").write_text("kept")
                time.sleep(0.002)
                assert (mine / "file").read_text() == "kept"
        wait_for_a_sweep(temporary, sweeper)
    finally:
        sweeper.kill()
        sweeper.wait()


def test_a_childs_temporary_files_go_with_it(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "about.py").write_text(ABOUT_TEMPORARY_FILES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = run_child("about", {}, folder=tmp_path, timeout_seconds=30)
    assert done.result is not None
    made = Path(done.result["at"])
    assert temporary in made.parents and not made.exists()
    assert list(temporary.iterdir()) == []


def test_a_run_killed_in_its_training_leaves_nothing_once_the_next_has_begun(whole: Any, tmp_path: Path):
    temporary = tmp_path / "t"
    temporary.mkdir()
    whole.environment["TMPDIR"] = str(temporary)
    text = (whole.folder / "train.py").read_text()
    (whole.folder / "train.py").write_text(
        text.replace("time.sleep(0.0)", "print('in training', flush=True); time.sleep(60)")
    )
    run = whole.start("run")
    whole.wait(lambda: "in training" in whole.run_logs(), "the training")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    left = list(temporary.glob("flyball-tmp-*"))
    assert left
    whole.flyball("models")
    assert [folder for folder in left if folder.exists()] == left  # looking around starts nothing
    run = whole.start("run")
    whole.wait(lambda: not any(folder.exists() for folder in left), "the removal", seconds=20)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
