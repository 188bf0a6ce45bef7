"""The files of a package that came from no index, so that an edit counts though its version stays."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from flyball.core.digests import digest_bytes
from flyball.pipelines.left_out import TOOL_FOLDERS
from flyball.pipelines.source_tree import LARGEST_FILE_BYTES


def installed_files(description: str) -> list[list[str]]:
    """Path and digest of each file that was installed, as its `.dist-info` folder records them (PEP 376).

    Without the description itself and what lies outside of the packages: these hold paths of this machine.
    """
    try:
        with open(os.path.join(description, "RECORD"), encoding="utf-8", newline="") as record:
            rows = [row[:2] for row in csv.reader(record) if len(row) > 1 and row[1]]
    except OSError:
        return []
    own = os.path.basename(description) + "/"
    return sorted(row for row in rows if not row[0].startswith((own, "..", "/")))


def editable_files(description: str) -> list[list[str]]:
    """Path and digest of the files in the folder that an editable package is worked on in; empty for any other.

    These are its Python files, and small files of other kinds inside of Python packages.
    """
    try:
        origin = json.loads(Path(description, "direct_url.json").read_text(encoding="utf-8"))
        if not origin["dir_info"]["editable"]:
            return []
        top = Path(url2pathname(urlsplit(origin["url"]).path))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found: list[list[str]] = []
    packages: set[str] = set()
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in TOOL_FOLDERS)
        if "__init__.py" in names or os.path.dirname(folder) in packages:
            packages.add(folder)
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file() and (file.suffix == ".py" or (folder in packages and _is_small(file))):
                found.append([file.relative_to(top).as_posix(), digest_bytes(file.read_bytes())])
    return found


def _is_small(file: Path) -> bool:
    return file.stat().st_size <= LARGEST_FILE_BYTES
