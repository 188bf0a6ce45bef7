"""Each package that an installation brings is used: by an import of the source, or by what is named here."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import flyball

SOURCE = Path(flyball.__file__).parent
ROOT = SOURCE.parents[1]
MODULES = {"xgboost-cpu": "xgboost"}  # where the name is another one
USED_BY_OTHERS = {
    "httptools": "uvicorn parses requests with it",
    "protobuf": "a bound: skl2onnx gives wrong forms with a newer one",
    "psycopg": "SQLAlchemy's driver for postgresql:// URLs",
    "scikit-learn": "projects train with it, and skops makes its estimators again",
    "uv": "a program: clean environments and locks",
}


def _declared() -> set[str]:
    """Names of the distributions of the base and of every extra but `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [
        *project["dependencies"],
        *(line for name, group in extras.items() if name != "dev" for line in group),
    ]
    found = {re.match(r"[A-Za-z0-9_.-]+", line) for line in lines}
    return {name[0] for name in found if name is not None} - {"flyball"}


def _imported() -> set[str]:
    """Top-level modules that any file of the source imports, wherever in it."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_every_declared_package_is_used():
    imported = _imported()
    unused = {
        name for name in _declared() if MODULES.get(name, name.replace("-", "_").lower()) not in imported
    }
    assert unused == set(USED_BY_OTHERS)
