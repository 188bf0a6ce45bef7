"""The digest of a frame's content: of names, types and values in order, however the frame is stored.

Definition, version 1. Each column gives two digests: of its validity (a byte 1 or 0 per row), and of its values with
nulls as zero or as nothing: integers, floats and temporal values as little-endian fixed width, booleans as a byte,
text as UTF-8 without separators, its lengths in bytes as u32 going before it as a third digest. -0.0 is 0.0 and all
NaN are one. The frame's digest is that of the canonical JSON of {format, rows, columns: [[name, type, digests…]…]}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flyball.core.digests import digest_json
from flyball.core.errors import SourceUnreadable

if TYPE_CHECKING:
    import polars as pl

CONTENT_FORMAT = 1
_TEXT_ROWS = 100_000
_FEW_ROWS = 10_000
_CELLS_AT_ONCE = 4_000_000


def canonical_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the types that snapshots know: see `type_name`. Same rows, same order.

    Categories become text, decimals float64, moments microseconds in UTC. Raises SourceUnreadable for nested
    columns: a feature is one value.
    """
    import polars as pl

    casts = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Categorical | pl.Enum):
            casts.append(pl.col(name).cast(pl.String))
        elif isinstance(kind, pl.Decimal):
            casts.append(pl.col(name).cast(pl.Float64))
        elif isinstance(kind, pl.Datetime):
            moment = pl.col(name).dt.cast_time_unit("us")
            casts.append(moment.dt.convert_time_zone("UTC") if kind.time_zone else moment)
        elif isinstance(kind, pl.Duration):
            casts.append(pl.col(name).dt.cast_time_unit("us"))
        elif isinstance(kind, pl.Null):
            casts.append(pl.col(name).cast(pl.String))
        elif type_name(kind) is None:
            raise SourceUnreadable(
                f"column {name!r} holds {kind}; a snapshot keeps single values: numbers, text, booleans, dates and "
                "times. Leave the column out (`query`, or another file), or unpack it before",
                column=name,
                type=str(kind),
            )
    return frame.with_columns(casts) if casts else frame


def type_name(kind: pl.DataType) -> str | None:
    """The name of a column's type in manifests and digests, such as int64 or string; None for one they don't know."""
    import polars as pl

    if isinstance(kind, pl.Datetime):
        return "datetime[us, UTC]" if kind.time_zone else "datetime[us]"
    if isinstance(kind, pl.Duration):
        return "duration[us]"
    names: dict[Any, str] = {
        pl.Boolean: "bool",
        pl.String: "string",
        pl.Date: "date",
        pl.Time: "time",
        pl.Float32: "float32",
        pl.Float64: "float64",
    }
    if isinstance(kind, pl.datatypes.IntegerType):
        return str(kind).lower()
    return names.get(type(kind))


def digest_content(frame: pl.DataFrame) -> str:
    """The digest of the frame's content. Raises SourceUnreadable for nested columns."""
    frame = canonical_frame(frame)
    schema, step = frame.schema, max(1, _CELLS_AT_ONCE // max(1, frame.height))
    columns: list[list[str | None]] = []
    for start in range(0, frame.width, step):
        part = frame.select(frame.columns[start : start + step])
        columns += [
            [name, type_name(schema[name]), *digests]
            for name, digests in zip(part.columns, _digest_columns(part), strict=True)
        ]
    return digest_json({"format": CONTENT_FORMAT, "rows": frame.height, "columns": columns})


def _digest_columns(frame: pl.DataFrame) -> Iterator[list[str]]:
    """Digests of each column. All are asked at once: a thousand questions of a column each take seconds."""
    import numpy as np
    import polars as pl
    from polars import selectors as cs

    valid = frame.select(pl.all().is_not_null().cast(pl.UInt8))
    filled = frame.select(_filled(name, kind) for name, kind in frame.schema.items())
    lengths = filled.select(cs.string().str.len_bytes().cast(pl.UInt32))
    for series, known in zip(filled, valid, strict=True):
        parts = [_hex(np.ascontiguousarray(known.to_numpy()))]
        if series.dtype == pl.String:
            yield [
                *parts,
                _hex(np.ascontiguousarray(lengths[series.name].to_numpy())),
                _digest_text(series),
            ]
            continue
        values = series.to_numpy()
        if series.dtype.is_float():
            values = values + 0.0  # a copy, in which -0.0 is 0.0
            values[np.isnan(values)] = np.nan
        yield [
            *parts,
            _hex(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)),
        ]


def _filled(name: str, kind: pl.DataType) -> pl.Expr:
    """The column in its physical form, with a value where there is none."""
    import polars as pl

    column = pl.col(name)
    if kind == pl.String:
        return column.fill_null("")
    if kind == pl.Boolean:
        return column.cast(pl.UInt8).fill_null(0)
    return column.to_physical().fill_null(0.0 if kind.is_float() else 0)


def _digest_text(text: pl.Series) -> str:
    """In portions: joined at once, a column of ten million rows would be copied whole."""
    if len(text) <= _FEW_ROWS:
        return hashlib.sha256("".join(text.to_list()).encode()).hexdigest()
    seen = hashlib.sha256()
    for start in range(0, len(text), _TEXT_ROWS):
        seen.update(text[start : start + _TEXT_ROWS].str.join("").item().encode())
    return seen.hexdigest()


def _hex(values: Any) -> str:
    return (
        hashlib.sha256(memoryview(values).cast("B")).hexdigest()
        if len(values)
        else hashlib.sha256().hexdigest()
    )
