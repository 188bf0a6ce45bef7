"""Project files of a repository by the model that they name, read without checking what else is in them."""

from __future__ import annotations

import os
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from flyball.pipelines.git_run import ask_git
from flyball.pipelines.project_file import FILE_NAME
from flyball.pipelines.source_tree import LARGEST_FILE_BYTES
from flyball.pipelines.toml_file import refuse_depth


def list_named(root: Path, name: str, *, with_new: bool = False) -> list[str]:
    """Project files of a repository that call their model so, in order of their paths below its root.

    with_new: those that git does not track yet, too. What can't be read or parsed names nothing.
    """
    others = ("--others", "--exclude-standard") if with_new else ()
    asked = ("ls-files", "-z", "--cached", *others, "--", FILE_NAME, f":(glob)**/{FILE_NAME}")
    listed = ask_git(root, *asked).printed or b""
    found = []
    for path in sorted(os.fsdecode(item) for item in set(listed.split(b"\0")) if item):
        with suppress(OSError, ValueError):
            text = read_limited(root / path)
            if name.encode() in text and name_in(text) == name:
                found.append(path)
    return found


def read_limited(path: Path) -> bytes:
    """The bytes of a file. Raises OSError, and ValueError for what is no file or larger than source may be.

    What a repository holds may be a link to anything, a device that never ends included.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return content


def parse_document(text: bytes) -> dict[str, Any]:
    """The tables of a file of settings, whatever is in them. Raises ValueError, saying what is wrong."""
    try:
        decoded = text.decode("utf-8-sig")
        refuse_depth(decoded)
        return tomllib.loads(decoded)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def name_in(text: bytes) -> str:
    """The model's name in a project file. Raises ValueError, saying what is wrong."""
    return name_of(parse_document(text))


def name_of(document: dict[str, Any]) -> str:
    """The model's name in the tables of a project file. Raises ValueError, saying what is wrong."""
    name = table_of(document, "model").get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("it names no model under [model]")
    return name


def table_of(document: dict[str, Any], key: str) -> dict[str, Any]:
    """A table of a document, empty where there is none. Raises ValueError for what is no table."""
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise ValueError(f"{key} is no table")
    return found
