"""Flyball closes the loop of machine learning in production: train, deploy, watch, correct.

The public names load what they need on first use, so that `import flyball` stays instant:

- `connect(...)`: a Flyball, the home on this machine or a control plane by its URL
- `run(...)`: the pipeline of the project in a folder, run once
- `load("model@champion")`: the predictor of one registered version
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flyball.app import load, run

__version__ = "0.1.0"
__all__ = ["__version__", "connect", "load", "run"]

_HOME_OF = {"load": "flyball.app", "run": "flyball.app"}


def connect(url: str | None = None, token: str | None = None) -> Any:
    """The Flyball at `url` (or FLYBALL_URL), else the home of the working folder; `close()` it when done."""
    url = url or os.environ.get("FLYBALL_URL")
    if url:
        return import_module("flyball.client").Client(url, token or os.environ.get("FLYBALL_TOKEN"))
    return import_module("flyball.app").open_here()


def __getattr__(name: str) -> Any:
    """A public name, from the module it lives in; that module loads now and not before."""
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
