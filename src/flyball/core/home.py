"""Where the home is: in the repository or the project that one works in, and nobody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from flyball.core.errors import BadInput

NAME = ".flyball"


def find_home(start: Path, environment: Mapping[str, str]) -> Path:
    """The home that belongs to a folder, whether it exists or not.

    FLYBALL_HOME; else the nearest `.flyball/` from the folder up to the Git root, or outside of a repository up to the
    folder of the nearest `flyball.toml`; else a new one there. Where there is neither, any `.flyball/` above counts.
    Raises BadInput for one that was found and belongs to another user, or that everybody may write to.
    """
    if given := environment.get("FLYBALL_HOME"):
        return Path(given).expanduser().resolve()
    start = start.resolve()
    top = _find_upwards(start, ".git") or _find_upwards(start, "flyball.toml")
    for folder in (start, *start.parents):
        if (folder / NAME).is_dir():
            _check_owner(folder / NAME)
            return folder / NAME
        if folder == top:
            break
    return (top or start) / NAME


def find_distant_home(start: Path, environment: Mapping[str, str]) -> Path | None:
    """The home, where nobody named it and it lies neither beside the project nor at the Git root; else None.

    Raises as `find_home`.
    """
    if environment.get("FLYBALL_HOME"):
        return None
    start = start.resolve()
    usual = (_find_upwards(start, ".git"), _find_upwards(start, "flyball.toml"))
    home = find_home(start, environment)
    return None if home.parent in usual or (usual == (None, None) and home.parent == start) else home


def _find_upwards(start: Path, name: str) -> Path | None:
    return next((folder for folder in (start, *start.parents) if (folder / name).exists()), None)


def _check_owner(home: Path) -> None:
    """Refuse a home that somebody else may have filled: the code of its versions would run as this user."""
    if not hasattr(os, "getuid"):
        return
    found, behind = home.lstat(), home.stat()
    if {found.st_uid, behind.st_uid} != {os.getuid()}:
        problem = "belongs to another user"
    elif behind.st_mode & stat.S_IWOTH:
        problem = "may be written to by everybody"
    else:
        return
    raise BadInput(
        f"{home} is the nearest home and {problem}, whose code would run as yours; remove it or make it your own, or "
        "set FLYBALL_HOME to the home that you want (to this one, if you trust it)",
        home=str(home),
    )
