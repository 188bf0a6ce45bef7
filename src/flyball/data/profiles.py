"""Columns of a frame as the drift statistics of `judge` count them, the same for training rows and for the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from flyball.judge.drift.profile import Kind


def columns_of(frame: pl.DataFrame, kinds: Mapping[str, Kind], prefix: str = "") -> dict[str, Any]:
    """The named columns as profiles take them: float arrays with NaN, or lists of text with None.

    prefix: what stands before each name in the frame (`x.` in the log). A column that the frame lacks is left out; so
    the log of a feature that no request carried says nothing of it. What is no number counts as missing.
    """
    import polars as pl

    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        if prefix + name not in frame.columns:
            continue
        column = frame.get_column(prefix + name)
        if kind == "numeric":
            columns[name] = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        else:
            columns[name] = column.cast(pl.String).to_list()
    return columns
