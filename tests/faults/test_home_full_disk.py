"""A home whose disk is full: predictions go on, changes are refused whole, and all is normal once there is room."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

history = sys.modules["flyball_tests_history"]
write_project = sys.modules["flyball_tests_whole"].write_project

SIZE = "96m"
MOUNT = 'mount -t tmpfs -o size="$2",mode=0700 full "$1" && echo mounted && exec sleep 3600'


class SmallDisk:
    """A home on a small disk of its own, in a mount namespace: seen by what runs through `prefix`, and as `root`."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *user, "--mount", "--", "sh", "-c", MOUNT, "sh", str(home), SIZE]
        try:
            self._holder = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except FileNotFoundError:
            pytest.skip("NO FULL DISK HERE: unshare (util-linux) is not installed")
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        if "mounted" not in said:
            pytest.skip(
                f"NO FULL DISK HERE: this machine permits no mount in a namespace of its own ({said.strip()})"
            )
        entered = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self._holder.pid), *entered, "--mount", "--"]
        self.prefix = [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(home.parent)]
        self.root = Path(f"/proc/{self._holder.pid}/root{home}")

    def fill(self) -> None:
        """Write until not one more byte has room."""
        with (self.root / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def make_room(self) -> None:
        (self.root / "filler").unlink()

    def end(self) -> None:
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def disk(whole, served_home):
    made = SmallDisk(whole.home)
    shutil.copytree(served_home / ".flyball", made.root, dirs_exist_ok=True)
    whole.prefix, whole.seen = made.prefix, made.root
    yield made
    whole.down()
    made.end()


def test_a_full_disk_refuses_changes_and_goes_on_answering(whole, disk):
    whole.up()
    with history.Clients(whole, changing=True) as clients:
        time.sleep(1.0)
        disk.fill()
        full_from = time.monotonic()
        time.sleep(1.0)
        code, _, said = whole.command("run")
        assert code == 3, said
        assert "disk is full" in said
        assert "Traceback" not in said
        # Also a worker that dies now comes back and answers.
        os.kill(whole.pids("serving.worker")[0], signal.SIGKILL)
        time.sleep(3.0)
        disk.fill()
        time.sleep(1.0)
        full_until = time.monotonic()
        disk.make_room()
        whole.wait(lambda: bool(clients.journal.since(full_until, "rollback", 200)), "a change", seconds=10)
        whole.wait(lambda: bool(clients.journal.since(full_until, "outcomes", 200)), "an outcome", seconds=10)
        time.sleep(1.0)
    whole.settle()
    assert whole.log("up").count("control plane ended") == 0

    meanwhile = [act for act in clients.journal.acts if full_from < act.begun < full_until]
    counts = Counter((act.operation, act.status) for act in meanwhile)
    logging.getLogger(__name__).info("with a full disk, answers by status: %s", dict(counts))
    assert counts["predict", 200] > 50
    assert counts["rollback", 507] > 3
    refused = [act for act in meanwhile if act.status == 507]
    assert all(act.answer["code"] == "storage_full" and act.ended - act.begun < 1.5 for act in refused)
    found = whole.json("doctor", allow=(0, 1))
    assert [f["check"] for f in found if f["state"] != "right"] == ["room on the disk"]
    lost = dropped(whole)
    whole.down()
    shutil.copytree(disk.root, whole.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
    assert history.check_history(whole, clients.journal, dropped=lost) == []


def test_a_run_without_room_says_so_registers_nothing_and_is_made_again(whole, disk):
    write_project(whole.folder, trees=30, pause=2.0)
    process = whole.start("run")
    whole.wait(lambda: "train …" in whole.run_logs(), "the training")
    disk.fill()
    assert process.wait(60) == 3
    said = whole.log("run")
    assert "disk is full" in said or "no room" in said, said
    assert "Traceback" not in said
    disk.make_room()
    assert [version["number"] for version in whole.json("versions", "plant")] == [2, 1]
    assert whole.json("run")["version"] == 3
    # With room for a last row in the database, the first attempt is a failed run; else it is gone on with.
    assert {run["state"] for run in whole.json("runs")} <= {"registered", "failed"}


def dropped(whole) -> int:
    """How many records the model server says it had no room for."""
    _, text = whole.call(whole.serve_port, "GET", "/metrics")
    lines = [line for line in text.decode().splitlines() if line.startswith("flyball_log_dropped_total{")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)
