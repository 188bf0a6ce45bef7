"""Examples beside other schedulers: what all of them call is run; the rest is held against the commands there are."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyball.cli.monitoring import EXIT_CODES, monitor, retrain

FOLDER = Path(__file__).parents[2] / "examples" / "orchestrators"
WRITTEN = sorted(FOLDER.glob("*/flyball_nightly.py"))


@pytest.fixture
def nightly(served: Any, tmp_path: Path) -> Any:
    """Starts the script on a home with a deployed model; `flyball` is on the path."""
    program = tmp_path / "programs" / "flyball"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flyball "$@"\n')
    program.chmod(0o755)
    environment = {**served.environment, "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(FOLDER / "nightly.sh"), *arguments],
            cwd=served.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def open_an_incident(served: Any) -> None:
    """An alarm, as the watch writes it down."""
    from flyball.backends.db.database import open_database
    from flyball.core.clock import SystemClock
    from flyball.monitoring.incidents import open_incident

    database, now = open_database(f"sqlite:///{served.home / 'flyball.db'}"), SystemClock().now()
    with database.write() as conn:
        open_incident(
            conn,
            model="plant",
            problem="change",
            cause="concept-drift",
            title="the error grew",
            hold=False,
            facts={},
            at=now,
            now=now,
        )
    database.close()


def test_a_night_that_is_killed_and_started_again_trains_once_and_ends_with_the_verdict(
    nightly: Any, served: Any
):
    first = nightly("plant", "night 1")
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0 and "too few rows to say anything of plant yet" in output
    open_an_incident(served)
    killed = nightly("plant", "night 2")
    served.wait(lambda: "train …" in served.run_logs(), "its training")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    for _ in range(2):
        again = nightly("plant", "night 2")
        output, _ = again.communicate(timeout=120)
        # Trained on the same rows again, a candidate is no better: refused.
        assert again.returncode == 1 and "refused by its gates" in output, output
    assert [run["why"].count("night 2") for run in served.json("runs")] == [1, 0, 0]
    wrong = nightly("no-such-model", "night 3")
    assert wrong.communicate(timeout=60)[0].count("there is no model") == 1 and wrong.returncode == 2


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.parent.name)
def test_what_an_example_calls_is_a_command_with_these_options_and_exit_codes(path: Path):
    text = path.read_text()
    ast.parse(text)
    options = {name for command in (monitor, retrain) for option in command.params for name in option.opts}
    used = set(re.findall(r"--[a-z-]+", text))
    assert {"--wait", "--key", "--timeout"} <= used <= options
    if "BashOperator" in text:
        assert 'flyball monitor "$MODEL" --wait --key "$KEY"' in text
        assert "0|4) exit 99 ;; 1) exit 0" in text
    else:
        assert "NOTHING_FOUND, ALARM, TOO_FEW_ROWS = 0, 1, 4" in text
    assert EXIT_CODES == {"alarm": 1, "not enough rows": 4, "nothing found": 0}


def test_every_example_is_in_the_table_with_what_was_tried():
    table = (FOLDER / "README.md").read_text()
    for path in FOLDER.rglob("*.*"):
        if "__pycache__" not in path.parts and path.is_file() and path.name != "README.md":
            assert f"({path.relative_to(FOLDER)})" in table, path
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    assert all("not run" in row or "by the tests, killed" in row for row in rows) and len(rows) == 7


def test_the_workflow_fits_its_hosts_schema_and_the_linter_finds_nothing():
    tools, path = Path(sys.executable).parent, str(FOLDER / "github" / "nightly.yml")
    for line in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--persona=pedantic"],
    ):
        done = subprocess.run(
            [str(tools / line[0]), *line[1:], path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
