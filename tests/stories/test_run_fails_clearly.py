from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.core.errors import BadInput
from flyball.governance.actors import local_actor
from flyball.governance.verify import verify
from flyball.pipelines.project_file import read_project
from flyball.pipelines.request import RunRequest
from flyball.pipelines.run import start_run
from flyball.pipelines.runs import get_run, list_runs
from flyball.registry.models import list_models

HEAD = "import time, os, sys\nimport numpy as np\n"


def fails(run_home: Any, folder: Path, flags: dict[str, str] | None = None) -> Any:
    """A run that must fail and register nothing; its result."""
    result = run_home.run(folder, flags)
    assert result.state == "failed" and result.version is None, result
    assert "Traceback" not in result.error["message"]
    with run_home.shop.database.read() as conn:
        assert list_models(conn) == []
        assert get_run(conn, result.run_id).error == result.error
        assert verify(conn).ok
    assert result.error["message"] in run_home.log(result.run_id)
    return result


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("def train(X, y):\n    return helper(X)\n\ndef helper(X):\n    return 1 / 0\n", "user_code_failed",
         "raised ZeroDivisionError at train.py:7: division by zero"),
        ("def train(X, y):\n    return None\n", "unsupported_model", "Supported: LightGBM"),
        ("def train(X, yy):\n    return None\n", "user_code_failed", "did you mean 'y'"),
        ("import no_such_thing\ndef train(X, y): ...\n", "user_code_failed", "ModuleNotFoundError at train.py:3"),
        ("def train(X, y:\n", "user_code_failed", "SyntaxError at train.py:3"),
        ("def fit(X, y): ...\n", "user_code_failed", "no function 'train'"),
        ("def train(X, y):\n    os._exit(7)\n", "user_code_failed", "exit code 7"),
        ("def train(X, y):\n    sys.exit('enough')\n", "user_code_failed", "SystemExit at train.py:4: enough"),
        ("def train(X, y):\n    time.sleep(60)\n", "run_timed_out", "ended after 1500ms"),
        ("def train(X, y):\n    return np.zeros(10**11)\n", "run_out_of_memory", "memory_mb"),
    ],
    ids=["raises", "nothing", "parameter", "import", "syntax", "entry", "exit", "sysexit", "hangs", "memory"],
)  # fmt: skip
def test_a_train_that_fails_says_what_and_where(
    run_home: Any, make_project: Callable[..., Path], code: str, error: str, words: str
):
    limits = {"train.memory_mb": "1500"}
    if "sleep" in code:
        limits = {"train.timeout": "1500ms"}
    result = fails(run_home, make_project(train=HEAD + code), limits)
    assert result.error["code"] == error
    assert words in result.error["message"]


def test_a_model_that_answers_nan_is_not_registered(run_home: Any, make_project: Callable[..., Path]):
    code = HEAD + (
        "class Bad:\n"
        "    def predict(self, rows): return [float('nan')] * len(rows)\n"
        "    def save(self, folder): open(os.path.join(folder, 'x'), 'w').write('x')\n"
        "    @classmethod\n"
        "    def load(cls, folder): return cls()\n"
        "def train(X, y): return Bad()\n"
    )
    result = fails(run_home, make_project(train=code))
    assert "finite" in result.error["message"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"model.target": "z"}, "[model].target names the column 'z'"),
        ({"model.time": "when"}, "[model].time names the column 'when'"),
        ({"data.source": "missing.csv"}, "missing.csv"),
        ({"model.target": "c", "model.task": "regression"}, "needs numbers"),
        ({"data.split.gap": "1000d"}, "would hold no rows"),
        ({"data.exclude": '["x", "c"]'}, "no column is left"),
        ({"contract.features": '{ x = { type = "float", max = 5 } }'}, "rows break the contract: row"),
    ],
)
def test_data_that_can_not_be_used_are_told_with_column_and_row(
    run_home: Any, make_project: Callable[..., Path], flags: dict[str, str], words: str
):
    assert words in fails(run_home, make_project(), flags).error["message"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("at,x,c,y\n", "no rows"),
        ("at,x,c,y\n2025-01-01,1,a\n2025-01-02,1,a,3,4\n", "rows.csv"),
        ("at,x,c,y\nyesterday,1,a,3\n2025-01-02,1,b,4\n", "yesterday"),
        ("at,x,c,y\n2025-01-01,1,a,inf\n2025-01-02,1,b,4\n", "inf"),
    ],
)
def test_a_table_that_is_broken_is_told_with_its_place(
    run_home: Any, make_project: Callable[..., Path], rows: str, words: str
):
    assert words in fails(run_home, make_project(rows=rows)).error["message"]


def test_the_training_process_has_neither_stores_nor_secrets(
    run_home: Any, make_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    for name in ("FLYBALL_DATABASE", "FLYBALL_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, "secret-4711")
    code = (
        HEAD + "def train(X, y, out):\n    print(os.environ, sys.argv, os.getcwd())\n    raise ValueError\n"
    )
    result = fails(run_home, make_project(train=code))
    log = run_home.log(result.run_id)
    assert "OMP_NUM_THREADS" in log and "PYTHONHASHSEED" in log
    assert "secret-4711" not in log and "FLYBALL_DATABASE" not in log


def test_a_run_that_is_cancelled_from_elsewhere_ends_its_child_and_registers_nothing(
    make_project: Callable[..., Path],
    command: Callable[..., Any],
    child_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FLYBALL_HOME", str(tmp_path / "home"))
    marker = tmp_path / "projects" / "child"
    marker.parent.mkdir()
    code = (
        HEAD
        + f"def train(X, y):\n    open({str(marker)!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
    )
    folder = make_project(train=code)
    running = subprocess.Popen(
        [sys.executable, "-m", "flyball", "run", str(folder)],
        env={**child_environment, "FLYBALL_HOME": str(tmp_path / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(300):
            if marker.exists() and marker.read_text():
                break
            time.sleep(0.1)
        child = int(marker.read_text())
        (run,) = command("runs", "--json", cwd=folder).json()
        said = command("run", "cancel", run["id"], "--why", "changed my mind", cwd=folder)
        assert (said.code, said.out) == (0, f"{run['id']} of line is cancelled\n")
        _, told = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 2 and "changed my mind" in told
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}"):
            break
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{child}")
    again = command("run", "cancel", run["id"], "--why", "once more", cwd=folder)
    assert again.code == 2 and "has ended already: it is cancelled" in again.err
    assert command("versions", "line", cwd=folder).code == 2  # nothing was registered


def test_a_request_without_files_is_refused(run_home: Any, make_project: Callable[..., Path]):
    project = read_project(make_project()).project
    with pytest.raises(BadInput, match="project folder"):
        start_run(
            run_home.engine, run_home.shop, RunRequest(model="line", project=project, actor=local_actor())
        )
    with run_home.shop.database.read() as conn:
        assert list_runs(conn) == []
