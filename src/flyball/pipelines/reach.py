"""Which of a home's files each kind of child that runs a project's code, or a model's, gets to see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flyball.backends.executors.confine import Confinement
from flyball.core.settings import Settings
from flyball.pipelines.strangers import is_for_strangers

# Keys of the payload whose paths are read, and those that are written, too. `other.name` is a key in a table, or in
# each of a list of tables. Named one by one: a payload holds texts of the project as well.
_TRAINING = (("data", "held_out", "champion"), ("source", "made", "step_cache"))
_ASKED = ("package", "train", "test", "twin_folder", "champion")
_REACHED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": _TRAINING,
    "train-tests": _TRAINING,
    "evaluate": (("data", "held_out", "made", "champion.folder", "champion.seen"), ("package",)),
    "test": (_ASKED, ()),
    "functions": (_ASKED, ("source", "current")),
    "contrast": (("test", "beside", "now.folder", "now.seen", "others.folder", "others.seen"), ()),
}


def reach_of(kind: str, payload: dict[str, Any], settings: Settings) -> Confinement | None:
    """What a child of a run can't reach; None for `prepare`, our own code, which reads and writes the stores."""
    if kind == "prepare":
        return None
    read, write = _REACHED[kind]
    if kind == "train" and not _sees_held_out(payload["project"]):
        read = tuple(name for name in read if name != "held_out")
    return Confinement(
        hidden=settings.state_paths,
        # A link is opened up to where it leads: one that training left in the place of its rows opens nothing.
        read=[path for name in read for path in _paths(payload, name) if not os.path.islink(path)],
        write=[_made(path) for name in write for path in _paths(payload, name)],
        closed=is_for_strangers(settings),
    )


def _sees_held_out(project: dict[str, Any]) -> bool:
    """Whether a training works on the held-out rows, too: its steps make other rows of them, or it trains on all."""
    return bool(project["train"]["refit"]) or any(step["at"] == "train" for step in project["steps"])


def _paths(payload: dict[str, Any], name: str) -> Iterator[str]:
    first, _, rest = name.partition(".")
    found = payload.get(first)
    for item in found if isinstance(found, list) else [found]:
        if rest and isinstance(item, dict):
            yield from _paths(item, rest)
        elif isinstance(item, str):
            yield item


def _made(path: str) -> str:
    """A folder that is there, since only then it can be opened up; for a file that is to come, the folder it is in."""
    if Path(path).suffix:
        return str(Path(path).parent)
    Path(path).mkdir(parents=True, exist_ok=True)
    return path
