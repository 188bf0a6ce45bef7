"""Frames for models and steps that take them: from requests, from tables, in the form that training had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from flyball.core.clock import parse_moment
from flyball.core.errors import BadAnswer, UnsupportedModel
from flyball.registry.manifest import FeatureSpec

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Kind = Literal["polars", "pandas", "numpy"]
_INT_LIMIT = 2**63


def rows_to_frame(rows: Sequence[dict[str, Any]], features: Sequence[FeatureSpec]) -> pl.DataFrame:
    """Rows as requests carry them, one column a feature, typed as `with_types` does; what does not fit is null."""
    import polars as pl

    columns = []
    for feature in features:
        fit = _FITS[feature.type]
        values = [fit(row.get(feature.name)) for row in rows]
        columns.append(pl.Series(feature.name, values, dtype=_dtype(feature), strict=True))
    return pl.DataFrame(columns)


def with_types(frame: pl.DataFrame, features: Sequence[FeatureSpec]) -> pl.DataFrame:
    """The features' columns in the one type each stands for, NaN and what does not fit as null.

    A column that is not there is all null, as a field that a request leaves out.
    """
    import polars as pl

    columns = []
    for feature in features:
        if feature.name not in frame.columns:
            columns.append(pl.Series(feature.name, [None] * frame.height, dtype=_dtype(feature)))
            continue
        column = frame.get_column(feature.name)
        if column.dtype.is_float():
            column = column.fill_nan(None)
        if feature.type == "datetime" and column.dtype == pl.String:
            values = [_moment(value) for value in column.to_list()]
            columns.append(pl.Series(feature.name, values, dtype=_dtype(feature)))
            continue
        if feature.type == "int" and column.dtype.is_float():
            column = column.set(column != column.floor(), None)
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
            column = column.dt.replace_time_zone("UTC")
        columns.append(column.cast(_dtype(feature), strict=False))
    return pl.DataFrame(columns)


def with_categories(frame: pl.DataFrame, features: Sequence[FeatureSpec]) -> pl.DataFrame:
    """Text features with listed values as Enum in that order; values that are not listed become null."""
    import polars as pl

    return frame.with_columns(
        frame.get_column(feature.name).cast(pl.Enum(feature.categories), strict=False)
        for feature in features
        if feature.type == "string" and feature.categories is not None
    )


def matrix_of(frame: pl.DataFrame, features: Sequence[FeatureSpec]) -> NDArray[np.float64]:
    """A frame's features as a C-contiguous matrix, as RowEncoder makes it of rows."""
    import numpy as np
    import polars as pl

    typed = with_categories(with_types(frame, features), features)
    columns = []
    for feature in features:
        column = typed.get_column(feature.name)
        if isinstance(column.dtype, pl.Enum):
            column = column.to_physical()
        elif feature.type in ("string", "datetime"):
            raise UnsupportedModel(
                f"{feature.name!r} is {feature.type} and has no number", feature=feature.name
            )
        columns.append(column.cast(pl.Float64).fill_null(math.nan).to_numpy())
    if not columns:
        return np.empty((frame.height, 0))
    return np.ascontiguousarray(np.column_stack(columns))


def as_kind(frame: pl.DataFrame, kind: Kind) -> Any:
    """A typed frame as user code asked for it: as it is, as pandas, or as a matrix (categories as codes)."""
    if kind == "polars":
        return frame
    if kind == "pandas":
        return _as_pandas(frame)
    import numpy as np
    import polars as pl

    columns = [
        (column.to_physical() if isinstance(column.dtype, pl.Enum) else column)
        .cast(pl.Float64)
        .fill_null(math.nan)
        .to_numpy()
        for column in frame.get_columns()
    ]
    return np.column_stack(columns) if columns else np.empty((frame.height, 0))


def from_user(value: Any, what: str) -> pl.DataFrame:
    """The frame that user code returned, as polars. Raises BadAnswer for anything that is no frame."""
    import polars as pl

    if isinstance(value, pl.DataFrame):
        return value
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
        return pl.DataFrame({str(name): _from_pandas(value[name]) for name in value.columns})
    raise BadAnswer(f"{what} returned {type(value).__name__}; a step returns a frame with named columns")


def _as_pandas(frame: pl.DataFrame) -> Any:
    """Without pyarrow, which nothing else here needs."""
    import pandas as pd
    import polars as pl

    columns: dict[str, Any] = {}
    for column in frame.get_columns():
        if isinstance(column.dtype, pl.Enum):
            codes = column.to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
            categories = column.dtype.categories.to_list()
            columns[column.name] = pd.Categorical.from_codes(codes, categories=categories)
        elif column.dtype == pl.String or (column.dtype == pl.Boolean and column.null_count()):
            columns[column.name] = pd.Series(column.to_list(), dtype=object)
        elif column.dtype.is_temporal():
            columns[column.name] = pd.to_datetime(column.to_numpy(), utc=True)
        else:
            columns[column.name] = column.to_numpy()
    return pd.DataFrame(columns, index=pd.RangeIndex(frame.height))


def _from_pandas(series: Any) -> pl.Series:
    import polars as pl

    if str(series.dtype) == "category":
        categories = [str(value) for value in series.cat.categories]
        texts = [categories[code] if code >= 0 else None for code in series.cat.codes.tolist()]
        return pl.Series(texts, dtype=pl.Enum(categories))
    if series.dtype == object or str(series.dtype) in ("str", "string", "boolean"):
        return pl.Series([None if _is_missing(value) else value for value in series.tolist()], strict=False)
    values = pl.Series(series.to_numpy())
    return values.fill_nan(None) if values.dtype.is_float() else values


def _is_missing(value: Any) -> bool:
    # NaN and NaT differ from themselves; pandas' NA answers neither way.
    return value is None or type(value).__name__ == "NAType" or value != value


def _dtype(feature: FeatureSpec) -> Any:
    import polars as pl

    kinds = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "string": pl.String}
    return kinds.get(feature.type, pl.Datetime("us", "UTC"))


def _int(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    whole = int(value)
    return whole if -_INT_LIMIT <= whole < _INT_LIMIT else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if not isinstance(value, str):
        return None
    try:
        return parse_moment(value)
    except ValueError:
        return None


_FITS: dict[str, Callable[[Any], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "string": _string,
    "datetime": _moment,
}
