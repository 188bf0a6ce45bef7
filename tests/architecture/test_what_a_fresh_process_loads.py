"""Imports are paid for at each start of a command and in each worker: ask a fresh process what it loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
LEARNERS = {"lightgbm", "scipy", "sklearn", "skl2onnx", "skops", "xgboost"}
FRAMES = {"deltalake", "pandas", "polars"}
CONTROL_PLANE = {"alembic", "dbos", "jinja2", "litestar", "psycopg", "sqlalchemy"}
HEAVY_FOR_A_COMMAND = (
    LEARNERS | FRAMES | CONTROL_PLANE | {"numpy", "obstore", "onnxruntime", "rich", "uvicorn"}
)
HEAVY_FOR_A_SERVER = LEARNERS | FRAMES | CONTROL_PLANE
BASE = ("click", "httpx2", "msgspec")

BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r} (not in the base install)", name=name)

sys.meta_path.insert(0, Absent())
"""


def run_fresh(code: str) -> str:
    """Standard output of a new interpreter that sees the source folder."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(module: str) -> set[str]:
    """Top-level names a fresh process has loaded after importing one module."""
    code = (
        f"import {module}, json, sys; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    )
    return set(json.loads(run_fresh(code).splitlines()[-1]))


def distributions_of_the_base() -> set[str]:
    """The base dependencies and what they require, as normalised distribution names."""
    waiting, found = list(BASE), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # required on another platform only
        waiting += [
            re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line
        ]
    return found


def modules_outside_the_base() -> set[str]:
    """Top-level modules of every installed package that a base install would not have."""
    base = distributions_of_the_base()
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not base & {re.sub(r"[-_.]+", "-", name).lower() for name in distributions} and module != "flyball"
    }


def test_the_command_starts_without_any_heavy_library():
    assert not loaded_by("flyball.cli.main") & HEAVY_FOR_A_COMMAND


def test_a_model_server_starts_without_database_workflows_frames_and_learners():
    assert not loaded_by("flyball.serving.server") & HEAVY_FOR_A_SERVER


def test_importing_flyball_loads_nothing_but_the_standard_library():
    third_party = set(metadata.packages_distributions()) - {"flyball"}
    assert not (loaded_by("flyball") - loaded_by("json")) & third_party


@pytest.mark.parametrize("module", ["flyball", "flyball.cli.main", "flyball.client", "flyball.core.errors"])
def test_the_base_install_imports_without_extras(module: str):
    blocked = sorted(modules_outside_the_base())
    assert {"numpy", "sqlalchemy", "polars"} <= set(blocked)
    output = run_fresh(f"BLOCKED = set({blocked!r})\n{BLOCK}\nimport {module}\nprint('imported')")
    assert output.splitlines()[-1] == "imported"


def test_the_help_of_the_command_needs_no_extras():
    blocked = sorted(modules_outside_the_base())
    code = f"import sys\nBLOCKED = set({blocked!r})\n{BLOCK}\nsys.argv = ['flyball', '--help']\n"
    output = run_fresh(code + "from flyball.cli.main import main\nmain()")
    assert "predict" in output


def test_every_public_name_is_offered_before_it_is_loaded():
    offered = run_fresh("import flyball; print(sorted(set(flyball.__all__) - set(dir(flyball))))")
    assert offered.strip() == "[]"


def test_an_unknown_public_name_is_an_attribute_error():
    answer = run_fresh(
        "import flyball\ntry:\n    flyball.nonsense\nexcept AttributeError as error:\n    print(error)"
    )
    assert "no attribute 'nonsense'" in answer
