"""The last route table of each model, kept beside the bundles: a server starts with nobody else there."""

from __future__ import annotations

import logging
from pathlib import Path

from flyball.core.digests import canonical_json
from flyball.core.errors import Corrupt
from flyball.registry.route_table import RouteTable, read_table
from flyball.serving.processes import replace_file

log = logging.getLogger("flyball.worker")


def remember(folder: Path, table: RouteTable) -> None:
    """Keep a table as its model's last, unless a newer one is kept already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.model}.json"
    kept = _read(path)
    if kept is None or kept.revision < table.revision:
        replace_file(path, canonical_json(table))


def recall(folder: Path) -> list[RouteTable]:
    """The tables that are kept, by model; a damaged one is left out and said."""
    tables = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [table for table in tables if table is not None]


def find(folder: Path, model: str) -> RouteTable | None:
    """The table that is kept of a model."""
    return _read(folder / f"{model}.json")


def _read(path: Path) -> RouteTable | None:
    try:
        return read_table(path.read_bytes())
    except FileNotFoundError:
        return None
    except (Corrupt, OSError) as error:
        log.warning("the route table kept in %s is not used: %s", path.name, error)
        return None
