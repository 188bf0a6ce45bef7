"""The project's code reaches nothing of the home but what it trains with; everything else stays as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_runs import LINE

from flyball.backends.executors.confine import Confinement, can_confine

pytestmark = pytest.mark.skipif(
    not can_confine(), reason="this kernel can't take folders away from a process"
)

ATTACK = """
import errno
import os
import subprocess
import sys

home = os.path.abspath("../../..")
runs = os.path.join(home, "runs")
own = os.path.basename(os.path.abspath(".."))


def attempt(what, work):
    try:
        work()
        print(what, "WORKED")
    except OSError as error:  # EXDEV is what renames and links across get, so that `mv` copies instead
        print(what, "denied" if error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV) else error)


database = os.path.join(home, "flyball.db")
assert os.path.exists(database)
attempt("list the home", lambda: os.listdir(home))
attempt("list the runs", lambda: os.listdir(runs))
attempt("make an object", lambda: open(os.path.join(home, "objects", "planted"), "w"))
attempt("make a file in the home", lambda: open(os.path.join(home, "planted"), "w"))
attempt("change another run", lambda: open(os.path.join(runs, "other", "log.txt"), "a"))
attempt("change its own log", lambda: open(os.path.join(runs, own, "log.txt"), "a"))
attempt("change held-out rows", lambda: open(os.path.join(runs, own, "held_out", "test.parquet"), "r+b"))
attempt("take the database away", lambda: os.rename(database, "flyball.db"))
attempt("link the database", lambda: os.link(database, "linked.db"))
attempt("cut the database", lambda: os.truncate(database, 0))
grandchild = subprocess.run([sys.executable, "-c", f"open({database!r}, 'rb')"], capture_output=True)
print("of a grandchild", "denied" if b"PermissionError" in grandchild.stderr else "WORKED")
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip("\n").split("\n"))


def test_a_training_that_reaches_for_the_home_is_refused_and_told_the_line(
    run_home: Any, make_project: Callable[..., Path]
):
    other = run_home.shop.settings.runs_folder / "other"
    other.mkdir(parents=True)
    (other / "log.txt").write_text("mine\n")
    head, body = LINE.split("    x = X[:, 0]\n")
    reach = indented(ATTACK) + "    open(database, 'r+b')\n    x = X[:, 0]\n"
    result = run_home.run(make_project(train=head + reach + body))
    log = run_home.log(result.run_id)
    assert len([line for line in log.split("\n") if line.endswith(" denied")]) == 11, log
    assert result.state == "failed" and result.error["code"] == "user_code_failed"
    assert "PermissionError" in result.error["message"] and "open(database, 'r+b')" in result.error["message"]
    assert (other / "log.txt").read_text() == "mine\n"
    assert "confined True" in log


def test_a_project_beside_the_home_reads_and_writes_its_own_files(
    run_home: Any, make_project: Callable[..., Path], tmp_path: Path
):
    own = tmp_path / "projects" / "line" / "weights"
    own.mkdir(parents=True)
    (own / "slope.txt").write_text("2.0")
    text = f"    open({str(own / 'seen.txt')!r}, 'w').write(open({str(own / 'slope.txt')!r}).read())\n"
    result = run_home.run(make_project(train=LINE.replace("    x = X[:, 0]\n", text + "    x = X[:, 0]\n")))
    assert result.state == "registered", result.error
    assert (own / "seen.txt").read_text() == "2.0"


def confined(confinement: Confinement, text: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A process that confines itself and then runs a text."""
    begin = (
        "import msgspec, os, sys, time\n"
        "from flyball.backends.executors.confine import Confinement, confine\n"
        "plan = msgspec.json.decode(sys.argv[1], type=Confinement)\n"
        "began = time.perf_counter()\n"
        "assert confine(plan)\n"
        "took = time.perf_counter() - began\n"
    )
    plan = msgspec.json.encode(confinement).decode()
    return subprocess.run(
        [sys.executable, "-c", begin + text, plan],
        check=False,
        text=True,
        capture_output=True,
        timeout=60,
        **options,
    )


def test_what_is_given_within_the_hidden_can_be_reached_and_a_link_opens_nothing(tmp_path: Path):
    home = tmp_path / "home"
    for name in ("rows", "made", "secret"):
        (home / name).mkdir(parents=True)
    (home / "rows" / "a").write_text("a")
    (home / "secret" / "b").write_text("b")
    (tmp_path / "link").symlink_to(home / "secret")
    plan = Confinement(
        hidden=[str(home)], read=[str(home / "rows")], write=[str(home / "made"), str(home / "none")]
    )
    text = """
def can(path, mode):
    try:
        open(path, mode).close()
        return True
    except PermissionError:
        return False
print([can("home/rows/a", "r"), can("home/rows/a", "a"), can("home/rows/new", "w"), can("home/made/new", "w"),
       can("home/secret/b", "r"), can("link/b", "r"), can("beside", "a")])
"""
    (tmp_path / "beside").write_text("")
    done = confined(plan, text, cwd=tmp_path)
    assert done.stdout.strip() == "[True, False, False, True, False, False, True]", done.stderr


def test_modules_of_a_folder_above_the_home_are_still_found(tmp_path: Path):
    (tmp_path / "shared.py").write_text("answer = 42\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text("x")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tmp_path)])}
    text = "import shared; print(shared.answer)\nopen('home/secret')"
    done = confined(Confinement(hidden=[str(tmp_path / "home")]), text, cwd=tmp_path, env=environment)
    assert done.stdout == "42\n" and "PermissionError" in done.stderr
