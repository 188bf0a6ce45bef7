"""Frames on their way to user code and back: column types by contract, categories in its order, polars or pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from flyball.core.contract import Contract, FeatureRule
from flyball.core.errors import UserCodeFailed

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["polars", "pandas", "numpy"]


def with_types(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The frame with each feature in the one type its rule stands for, as a request's values have.

    Narrow types of the source (8-bit integers, 32-bit floats) would overflow or round in steps where the same
    request would not.
    """
    return frame.with_columns(
        frame.get_column(name).cast(_type(rule), strict=False)
        for name, rule in contract.features.items()
        if name in frame.columns
    )


def with_categories(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Text features with listed values as Enum in the contract's order; values it does not list become null."""
    import polars as pl

    return frame.with_columns(
        frame.get_column(name).cast(pl.Enum([str(value) for value in rule.values]), strict=False)
        for name, rule in contract.features.items()
        if name in frame.columns and rule.type == "string" and rule.values
    )


def _type(rule: FeatureRule) -> Any:
    import polars as pl

    kinds = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "string": pl.String}
    return kinds.get(rule.type, pl.Datetime("us", "UTC"))


def as_kind(frame: pl.DataFrame, kind: Kind) -> Any:
    """A frame as user code asked for it: as it is, as pandas, or as a float64 matrix (categories as codes)."""
    if kind == "polars":
        return frame
    if kind == "pandas":
        return _as_pandas(frame)
    return as_matrix(frame)


def as_column(frame: pl.DataFrame, name: str, kind: Kind) -> Any:
    """One column as user code asked for it."""
    column = frame.get_column(name)
    if kind == "polars":
        return column
    if kind == "pandas":
        return _as_pandas(frame.select(name))[name]
    return column.to_numpy()


def as_matrix(frame: pl.DataFrame) -> Any:
    """A float64 matrix in the order of the columns: true 1, false 0, categories their code, missing NaN."""
    import numpy as np
    import polars as pl

    columns = []
    for column in frame.get_columns():
        if isinstance(column.dtype, pl.Enum | pl.Categorical):
            column = column.to_physical()
        elif column.dtype == pl.String:
            raise UserCodeFailed(
                f"the text column {column.name!r} has no listed values, so it has no number; drop it with "
                '[data].exclude, or receive frames = "polars"',
                column=column.name,
            )
        columns.append(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    return np.column_stack(columns) if columns else np.empty((frame.height, 0))


def _as_pandas(frame: pl.DataFrame) -> Any:
    """Without pyarrow, which nothing else here needs."""
    import pandas as pd
    import polars as pl

    columns: dict[str, Any] = {}
    for column in frame.get_columns():
        if column.dtype == pl.Categorical:
            column = column.cast(pl.Enum(column.cast(pl.String).drop_nulls().unique().sort()))
        if isinstance(column.dtype, pl.Enum):
            codes = column.to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
            columns[column.name] = pd.Categorical.from_codes(
                codes, categories=column.dtype.categories.to_list()
            )
        elif column.dtype == pl.String or (column.dtype == pl.Boolean and column.null_count()):
            columns[column.name] = pd.Series(column.to_list(), dtype=object)
        elif column.dtype.is_temporal():
            columns[column.name] = pd.to_datetime(
                column.to_numpy(), utc=column.dtype == pl.Datetime("us", "UTC")
            )
        else:
            columns[column.name] = column.to_numpy()
    return pd.DataFrame(columns, index=pd.RangeIndex(frame.height))


def from_user(value: Any, key: str) -> pl.DataFrame:
    """The frame that a step returned, as polars. Raises UserCodeFailed for anything that is no frame."""
    import polars as pl

    if isinstance(value, pl.DataFrame):
        return value
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
        return pl.DataFrame({str(name): _from_pandas(value[name]) for name in value.columns})
    raise UserCodeFailed(
        f"{key} returned {type(value).__name__}; a step returns a polars or pandas DataFrame with named columns",
        key=key,
        returned=type(value).__name__,
    )


def _from_pandas(series: Any) -> pl.Series:
    import polars as pl

    if str(series.dtype) == "category":
        categories = [str(value) for value in series.cat.categories]
        codes = pl.Series(series.cat.codes.to_numpy()).cast(pl.Int64)
        codes = codes.set(codes < 0, None)
        return codes.replace_strict(
            dict(enumerate(categories)), return_dtype=pl.Enum(categories), default=None
        )
    if series.dtype == object or str(series.dtype) in ("str", "string", "boolean"):
        return pl.Series([None if _is_missing(value) else value for value in series.tolist()], strict=False)
    values = pl.Series(series.to_numpy())
    return values.fill_nan(None) if values.dtype.is_float() else values


def _is_missing(value: Any) -> bool:
    # NaN and NaT differ from themselves; pandas' NA answers neither way.
    return value is None or type(value).__name__ == "NAType" or value != value
