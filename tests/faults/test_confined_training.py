"""The project's code reaches nothing of the home but what it trains with; everything else stays as it was."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyball_tests_runs import LINE

from flyball.backends.executors.confine import Confinement, can_confine, holds_signals
from flyball.backends.executors.local import run_child
from flyball.core.settings import Settings
from flyball.pipelines.reach import reach_of

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
attempt("read held-out rows", lambda: open(os.path.join(runs, own, "held_out", "test.parquet"), "rb"))
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
    assert len([line for line in log.split("\n") if line.endswith(" denied")]) == 12, log
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


CLAIM = """
import sys
import types

import polars

child = sys.modules["__main__"]
real = child.msgspec.json


def encode(result):
    if "value" in result:
        result["value"]["has_frames"] = True
    return real.encode(result)


child.msgspec = types.SimpleNamespace(json=types.SimpleNamespace(encode=encode, decode=real.decode))
for name in ("train", "test"):
    easy = polars.DataFrame({"x": [1.0] * 80, "c": ["a"] * 80, "y": [0.5 * 1.0] * 80})
    easy.write_parquet(f"../made/{name}.parquet")
"""


def test_a_training_cannot_claim_to_be_measured_on_rows_of_its_own(
    run_home: Any, make_project: Callable[..., Path]
):
    result = run_home.run(
        make_project(train=LINE.replace("    x = X[:, 0]\n", indented(CLAIM) + "    x = X[:, 0]\n"))
    )
    assert result.state == "failed" and result.error["code"] == "user_code_failed"
    assert "is not of this project" in result.error["message"]


def test_steps_that_change_the_truth_of_held_out_rows_are_told(
    run_home: Any, make_project: Callable[..., Path]
):
    step = '[[steps]]\nname = "easy"\nentry = "easy:build"\nat = "train"\n'
    folder = make_project(more=step)
    build = "def build(rows):\n    import polars as pl\n    return rows.with_columns(y=pl.col('x') * 2.0)\n"
    (folder / "easy.py").write_text(build)
    result = run_home.run(folder)
    assert "steps before training changed the target of 80 held-out rows" in result.warnings
    (folder / "easy.py").write_text("def build(rows):\n    return rows.filter(rows['c'] == 'a')\n")
    assert any("held-out rows of 80" in warning for warning in run_home.run(folder).warnings)


def test_modules_of_the_working_folder_are_not_taken_for_those_of_the_program(tmp_path: Path):
    for name in ("click", "msgspec", "polars"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "flyball").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "flyball", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "imported" not in done.stderr, done.stderr


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


REACH = """
import glob, os, signal, subprocess, tempfile
def can(path, mode):
    try:
        open(path, mode).close()
        return True
    except OSError:
        return False
def may_signal(pid):
    try:
        os.kill(pid, 0)
        return True
    except PermissionError:
        return False
"""


def test_closed_is_all_but_the_system_python_and_what_is_given_and_the_inner_path_counts(tmp_path: Path):
    for name in ("given/hidden", "given/kept", "made", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a").write_text("a")
    (tmp_path / "given" / "a").write_text("a")
    plan = Confinement(
        hidden=[str(tmp_path / "given" / "hidden")],
        read=[str(tmp_path / "given")],
        write=[str(tmp_path / "made")],
        closed=True,
    )
    text = (
        REACH
        + """
import decimal, sqlite3, numpy
print([can(name, "r") for name in ("given/a", "given/kept/a", "given/hidden/a", "elsewhere/a", "made/a")])
print([can(name, "w") for name in ("given/a", "given/new", "elsewhere/new", "made/new", "/dev/null")])
print(sorted(os.listdir("given")), subprocess.run(["true"]).returncode)
print([can("/dev/" + name, "rb") for name in ("null", "zero", "urandom", "kmsg", "tty0", "ptmx", *DISKS)])
"""
    )
    # Root's may be read by root, in a container too.
    disks = [entry.name for entry in os.scandir("/dev") if stat.S_ISBLK(entry.stat().st_mode)]
    done = confined(plan, text.replace("DISKS", repr(disks)), cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "[True, True, False, False, True]",
        "[False, False, False, True, True]",
        "['a', 'hidden', 'kept'] 0",
        str([True] * 3 + [False] * (3 + len(disks))),
    ], done.stderr


def test_a_closed_process_closes_what_it_starts_further_though_it_can_list_nothing(tmp_path: Path):
    for name in ("rows", "package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a")
    outer = Confinement(hidden=[], read=[str(tmp_path / "rows"), str(tmp_path / "package")], closed=True)
    inner = Confinement(hidden=[], read=[str(tmp_path / "package")], closed=True)
    text = (
        REACH
        + f"""
from flyball.backends.executors.confine import is_closed
before = [can("rows/a", "r"), can("package/a", "r")]
assert confine(msgspec.json.decode({msgspec.json.encode(inner).decode()!r}, type=Confinement)) and is_closed()
print(before, [can("rows/a", "r"), can("package/a", "r")])
"""
    )
    done = confined(outer, text, cwd=tmp_path)
    assert done.stdout.strip() == "[True, True] [False, True]", done.stderr


def test_a_confined_process_neither_reads_the_environment_of_others_nor_signals_them(tmp_path: Path):
    (tmp_path / "home").mkdir()
    text = (
        REACH
        + """
child = subprocess.Popen(["sleep", "5"])
print(can(f"/proc/{os.getppid()}/environ", "r"), can(f"/proc/{child.pid}/environ", "r"), may_signal(child.pid))
print(may_signal(os.getppid()) and "it reaches its parent")
child.kill()
"""
    )
    done = confined(Confinement(hidden=[str(tmp_path / "home")]), text, cwd=tmp_path)
    first, second = done.stdout.splitlines()
    assert first == "False True True", done.stderr
    assert second == "False" or not holds_signals()


def test_a_result_that_is_a_link_a_pipe_or_no_object_counts_as_none(tmp_path: Path):
    (tmp_path / "module_of_a_stranger.py").write_text(
        "import os, sys\nkind = os.environ['KIND']\npath = sys.argv[2]\n"
        "os.mkfifo(path) if kind == 'pipe' else os.symlink('other.json', path) if kind == 'link' else "
        "open(path, 'w').write('[1]')\n"
    )
    (tmp_path / "other.json").write_text("{}")
    for kind in ("pipe", "link", "list"):
        ended = run_child(
            "module_of_a_stranger",
            {},
            folder=tmp_path,
            timeout_seconds=30,
            environment={
                "KIND": kind,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
            },
        )
        assert (ended.exit_code, ended.result, ended.timed_out) == (0, None, False)


@pytest.mark.parametrize("path", [os.pathsep, ".", f"{os.pathsep}{{}}", "./."])
def test_nothing_of_the_project_runs_before_the_walls_stand(tmp_path: Path, path: str):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("sitecustomize.py", "usercustomize.py", "msgspec.py", "evil.pth"):
        line = "import pathlib; pathlib.Path('../ran').touch()\n"
        (source / name).write_text(line)
    (tmp_path / "module_of_a_stranger.py").write_text(
        "import sys\nopen(sys.argv[2], 'w').write('{\"ended\": true}')\n"
    )
    others = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = run_child(
        "module_of_a_stranger",
        {},
        folder=source,
        timeout_seconds=30,
        environment={"PYTHONPATH": f"{path.format(tmp_path)}{os.pathsep}{others}"},
        confinement=Confinement(hidden=[], read=[str(tmp_path)], closed=True),
    )
    assert ended.result == {"ended": True} and not (tmp_path / "ran").exists()


PLANT = """
import os
import sys
import types

child = sys.modules["__main__"]
real = child.msgspec.json


def encode(result):
    for folder, _, _ in os.walk("../made/model") if "value" in result else ():
        if not os.path.lexists(folder + "/truth"):  # each fit has wrapped it once more
            os.symlink(os.path.abspath("../held_out/test.parquet"), folder + "/truth")
    return real.encode(result)


child.msgspec = types.SimpleNamespace(json=types.SimpleNamespace(encode=encode, decode=real.decode))
"""

LOAD = """
try:
    open(Path(folder) / "truth", "rb").close()
    print("truth WORKED")
except OSError as error:
    print("truth", type(error).__name__)
"""


def test_a_link_that_a_training_leaves_in_its_model_is_not_followed_for_it(
    run_home: Any, make_project: Callable[..., Path]
):
    text = LINE.replace("    x = X[:, 0]\n", indented(PLANT) + "    x = X[:, 0]\n")
    text = text.replace("        return cls(", indented(indented(LOAD)) + "        return cls(")
    result = run_home.run(make_project(train=text))
    log = run_home.log(result.run_id)
    assert "[evaluate] truth FileNotFoundError" in log and "WORKED" not in log, log
    assert result.state == "registered"


def test_a_link_in_the_place_of_what_is_given_opens_nothing(tmp_path: Path):
    (tmp_path / "keys").write_text("")
    (tmp_path / "train.parquet").symlink_to(tmp_path / "keys")
    payload = {name: str(tmp_path / f"{name}.parquet") for name in ("train", "test")}
    settings = Settings(home=tmp_path / "home", database_url="", objects_url="", cache="read")
    opened = reach_of("test", payload, settings)
    assert opened is not None and opened.read == [payload["test"]] and opened.closed
