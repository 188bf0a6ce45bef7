"""Shared libraries of packages, found without importing the package.

Importing LightGBM or XGBoost drags in scikit-learn, scipy and pandas: seconds and a hundred megabytes, where the
library itself loads in milliseconds and ten.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path

_ENDINGS = (".so", ".dylib", ".dll")


@cache
def find_library(package: str, name: str) -> ctypes.CDLL | None:
    """The library `lib<name>` that comes with an installed package, loaded; None where it is not installed."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for below in ("lib", "bin", "."):
            for ending in _ENDINGS:
                for prefix in ("lib", ""):
                    path = Path(folder, below, f"{prefix}{name}{ending}")
                    if path.is_file():
                        return ctypes.CDLL(str(path))
    return None


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
