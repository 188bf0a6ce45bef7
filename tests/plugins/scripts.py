"""Imports the modules of a folder of scripts (an example, a benchmark), whose names are common ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = (str(ROOT / "benchmarks"), str(ROOT / "examples"))


@pytest.fixture
def script_of() -> Iterator[Callable[[Path], ModuleType]]:
    """`script_of(path)` is that file as a module; what it calls `stream` is found as if it was run as a script.

    Afterwards every module is what it was before, so that no folder's module is taken for another's.
    """
    before, path_before = set_aside(), list(sys.path)

    def load(path: Path) -> ModuleType:
        set_aside()
        sys.path[:] = [str(path.parent), *path_before]
        return importlib.import_module(path.stem)

    yield load
    set_aside()
    sys.path[:] = path_before
    sys.modules.update(before)


def set_aside() -> dict[str, ModuleType]:
    """Take the modules of such folders out of the loaded ones."""
    names = [
        name
        for name, module in sys.modules.items()
        if "." not in name and str(getattr(module, "__file__", None) or "").startswith(SCRIPTS)
    ]
    return {name: sys.modules.pop(name) for name in names}
