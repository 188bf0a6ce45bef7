"""Where the log's Delta tables lie: one per model and generation of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flyball.core.errors import TableNotFound

if TYPE_CHECKING:
    import polars as pl

PREDICTIONS, OUTCOMES = "predictions", "outcomes"
_MOST_GENERATIONS = 1000


def generation_url(tables_url: str, kind: str, model: str, generation: int) -> str:
    """The URL of one generation's table, such as `…/predictions/bike/g1`."""
    return f"{tables_url.rstrip('/')}/{kind}/{model}/g{generation}"


def find_generation(tables_url: str, kind: str, model: str, columns: Mapping[str, pl.DataType]) -> int:
    """The generation whose table has exactly these columns; the next free one when none has."""
    for generation, frame in enumerate(scan_generations(tables_url, kind, model), start=1):
        if dict(frame.collect_schema()) == dict(columns):
            return generation
    return count_generations(tables_url, kind, model) + 1


def scan_generations(tables_url: str, kind: str, model: str) -> list[pl.LazyFrame]:
    """The model's tables of this kind, oldest first; empty when nothing was folded yet."""
    from flyball.backends.tables.delta import scan

    found: list[pl.LazyFrame] = []
    for generation in range(1, _MOST_GENERATIONS):
        try:
            found.append(scan(generation_url(tables_url, kind, model, generation)))
        except TableNotFound:
            break
    return found


def last_committed(tables_url: str, model: str, application: str) -> int:
    """The highest transaction number that any table of the model has seen of this application; 0 without any."""
    from flyball.backends.tables.delta import committed_transaction

    found = [0]
    for kind in (PREDICTIONS, OUTCOMES):
        for generation in range(1, count_generations(tables_url, kind, model) + 1):
            url = generation_url(tables_url, kind, model, generation)
            found.append(committed_transaction(url, application) or 0)
    return max(found)


def count_generations(tables_url: str, kind: str, model: str) -> int:
    """How many generations the model's tables of this kind have."""
    return len(scan_generations(tables_url, kind, model))
