"""Cells of text that hold what a model takes as numbers: one odd cell makes a whole column of a CSV file text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

TEXT = "BYTES"


def texts_of(schema: Mapping[str, pl.DataType], types: Mapping[str, str]) -> list[str]:
    """Columns of a CSV or TSV file that look like numbers and that a feature takes as text: 007 is no 7."""
    import polars as pl

    kinds = [(name, schema[name]) for name, kind in types.items() if kind == TEXT and name in schema]
    return [name for name, kind in kinds if kind.is_numeric() or kind == pl.Boolean]


def with_numbers(frame: pl.DataFrame, types: Mapping[str, str]) -> pl.DataFrame:
    """The frame with those cells of text turned into numbers and truth values that a feature takes; others stay.

    types: what a server takes for each feature (INT64, FP64, BOOL; text is left alone). So what a row is answered
    does not depend on the rows beside it.
    """
    import polars as pl

    changed = []
    for name, kind in types.items():
        if kind == TEXT or name not in frame.columns or frame.schema[name] != pl.String:
            continue
        column = frame[name]
        values = _truths(column) if kind == "BOOL" else _numbers(column)
        cells = [text if value is None else value for text, value in zip(column, values, strict=True)]
        changed.append(pl.Series(name, cells, dtype=pl.Object))
    return frame.with_columns(changed) if changed else frame


def _numbers(column: pl.Series) -> list[Any]:
    """Whole numbers where a cell is one, else decimals, else None. An infinity stays text, for JSON has none."""
    import polars as pl

    bare = column.str.strip_chars()
    decimals = bare.cast(pl.Float64, strict=False)
    decimal = decimals.set(decimals.is_infinite(), None).to_list()
    whole = bare.cast(pl.Int64, strict=False).to_list()
    return [number if found is None else found for found, number in zip(whole, decimal, strict=True)]


def _truths(column: pl.Series) -> list[bool | None]:
    return [{"true": True, "false": False}.get(text) for text in column.str.strip_chars().str.to_lowercase()]
