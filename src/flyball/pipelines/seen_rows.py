"""Which rows a model was trained on, as a set of row keys: a comparison on held-out rows leaves them out.

Two rows are the same when features, target, time and entity are. 32-bit floats decide, so that a row which went
through a request and the log is still found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flyball.core.clock import parse_moment

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

FORMAT = 1


class SeenRows(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of rows, sorted, as 8-byte little-endian numbers; `columns` is what a key is made of."""

    format: int = FORMAT
    columns: list[str]
    keys: bytes


def row_keys(frame: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.uint64]:
    """One 64-bit key per row, made of these columns in the order of their names."""
    import numpy as np
    import polars as pl

    parts = [_as_text(frame.get_column(name)) for name in sorted(columns)]
    # With its length before each part, no two rows can spell the same text.
    texts = frame.select(
        pl.concat_str([pl.format("{}:{}", part.str.len_bytes(), part) for part in parts])
    ).to_series()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8")


def _as_text(column: pl.Series) -> pl.Series:
    import polars as pl

    if column.dtype.is_float():
        values = column.cast(pl.Float64)
        is_whole = values.is_finite() & (values == values.round(0)) & (values.abs() < 2**53)
        # A whole number is written alike whether the source holds it as int or float.
        whole = values.set(~is_whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
        return whole.zip_with(is_whole.fill_null(False), column.cast(pl.Float32).cast(pl.String)).fill_null(
            "\0"
        )
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    elif column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).cast(pl.Int64)
    return column.cast(pl.String).fill_null("\0")


def encode_seen(frame: pl.DataFrame, columns: Sequence[str]) -> bytes:
    """The keys of a frame's rows as an object's bytes."""
    import numpy as np

    keys = np.unique(row_keys(frame, columns)).astype("<u8").tobytes()
    return msgspec.msgpack.encode(SeenRows(columns=sorted(columns), keys=keys))


def unseen(frame: pl.DataFrame, seen: bytes) -> NDArray[np.bool_] | None:
    """True per row that is not among the seen ones; None if the frame lacks a column that keys are made of."""
    import numpy as np

    known = msgspec.msgpack.decode(seen, type=SeenRows)
    if not set(known.columns) <= set(frame.columns):
        return None
    keys = np.frombuffer(known.keys, dtype="<u8")
    return ~np.isin(row_keys(frame, known.columns), keys)


def rows_that_count(
    frame: pl.DataFrame, *, seen: str | None, trained_until: str | None, time: str | None
) -> NDArray[np.bool_] | None:
    """True per row that a model was not trained on; None where that can't be told.

    seen: file with the keys of its rows. Where other columns make a key now, time decides: what is later than all it
    was trained on (`trained_until`).
    """
    from flyball.data.columns import event_times

    fresh = None if seen is None else unseen(frame, Path(seen).read_bytes())
    if fresh is not None or trained_until is None or time is None or time not in frame.columns:
        return fresh
    later: NDArray[np.bool_] = (event_times(frame, time) > parse_moment(trained_until)).to_numpy()
    return later
