"""A report that tells nothing of the machine it was made on: paths below the repository, and no others."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flyball.operations.ci.report import CiReport

# Copies of the project that a check works with lie in folders of their own; their files are named as in the repository.
_SCRATCH = r"/flyball-tmp-[\w-]+"


def without_places(report: CiReport, root: Path, home: Path) -> CiReport:
    """The report with paths below the repository's root named from there, and others without their folders.

    home: of Flyball, which may lie elsewhere. Links are left as they are.
    """
    tell = _teller(root, home)
    plain = msgspec.to_builtins(report, enc_hook=str, str_keys=True)
    links = plain.pop("links")
    return msgspec.convert({**_told(plain, tell), "links": links}, CiReport)


def _told(value: Any, tell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return tell(value)
    if isinstance(value, dict):
        return {name: _told(item, tell) for name, item in value.items()}
    if isinstance(value, list):
        return [_told(item, tell) for item in value]
    return value


def _teller(root: Path, home: Path) -> Callable[[str], str]:
    """What rewrites one text. Of places inside each other the innermost counts."""
    known = {place: "" for one in (root, root.resolve()) if (place := _place(one))}
    for one in (home, home.resolve()):
        known.setdefault(_place(one), f"…/{home.name}")
    for folder in (Path.home, tempfile.gettempdir, lambda: sys.prefix, lambda: sys.base_prefix):
        try:
            known.setdefault(_place(Path(folder())), "…")
        except RuntimeError:  # a user without a home
            continue
    known.pop("", None)
    scratch = re.escape(_place(Path(tempfile.gettempdir()))) + _SCRATCH
    named = "|".join(re.escape(place) for place in sorted(known, key=len, reverse=True))
    places = re.compile(rf"(?<![\w.])(?:(?P<copy>{scratch})|(?P<known>{named}))(?![\w.-])(?P<slash>/?)")

    def shown(found: re.Match[str]) -> str:
        word = "" if found["copy"] else known[found["known"]]
        if word:
            return word + found["slash"]
        return "" if found["slash"] else "."

    return lambda text: places.sub(shown, text) if "/" in text else text


def _place(path: Path) -> str:
    """A folder as text; nothing for the root of the file system, below which everything lies."""
    text = path.as_posix().rstrip("/")
    return text if text.count("/") >= 1 else ""
