"""Columns by name: the nearest one when a name is wrong, and moments out of whatever a time column holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flyball.core.errors import SourceUnreadable, UnknownColumn

if TYPE_CHECKING:
    import polars as pl

_DATE_FORMATS = ("%Y-%m", "%Y/%m/%d", "%Y/%m", "%Y%m%d")
_ZONE = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"


def check_columns(names: Iterable[str], columns: Sequence[str], where: str) -> None:
    """Raise UnknownColumn for the first of `names` that the data do not have.

    where: the key of the project file that names it, such as `[model].target`.
    """
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, n=1, cutoff=0.5)
            folded = [column for column in columns if column.casefold() == name.casefold()]
            nearest = folded[0] if folded else near[0] if near else None
            hint = f"did you mean {nearest!r}?" if nearest else f"they have {_shown(columns)}"
            raise UnknownColumn(
                f"{where} names the column {name!r}, which the data do not have; {hint}",
                column=name,
                nearest=nearest,
                where=where,
            )


def event_times(frame: pl.DataFrame, column: str, where: str = "[model].time") -> pl.Series:
    """The moments in a column as datetimes in UTC with microseconds, in the order of the rows.

    Dates are their midnight; what has no zone is taken as UTC; text is read as ISO 8601, also `2008-05`.
    Raises UnknownColumn, SourceUnreadable naming the first row that holds no moment.
    """
    import polars as pl

    check_columns([column], frame.columns, where)
    series = frame[column]
    if series.dtype == pl.String:
        moments = _parse(series)
    elif isinstance(series.dtype, pl.Date):
        moments = series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    elif isinstance(series.dtype, pl.Datetime):
        unit = series.dt.cast_time_unit("us")
        moments = (
            unit.dt.convert_time_zone("UTC") if series.dtype.time_zone else unit.dt.replace_time_zone("UTC")
        )
    else:
        raise SourceUnreadable(
            f"{where} is {column!r}, which holds {series.dtype}; it needs dates or times (ISO 8601). A plain order "
            "of rows is no time: leave [model].time out and split at random, or make a date of it in the source",
            column=column,
        )
    bad = moments.is_null().arg_true()
    if len(bad):
        row = int(bad[0])
        raise SourceUnreadable(
            f"{where}: row {row + 1} of column {column!r} holds {series[row]!r}, which is no date or time; "
            f"{len(bad)} of {len(series)} rows are like this. Use ISO 8601 (2024-05-31T08:00:00Z), or leave the "
            "rows out of the source",
            column=column,
            row=row,
        )
    return moments


def _parse(series: pl.Series) -> pl.Series:
    """ISO 8601 with or without time and zone; null where it is something else."""
    import polars as pl

    text = series.str.strip_chars()
    zoned = text.str.contains(_ZONE) & text.str.contains(r"\d[T ]\d")
    frame = pl.DataFrame({"text": text, "zoned": zoned.fill_null(False)})
    plain = [
        pl.col("text").str.to_datetime(time_unit="us", strict=False, exact=True, format=pattern)
        for pattern in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
    ]
    days = [
        pl.col("text").str.to_date(format=pattern, strict=False, exact=True).cast(pl.Datetime("us"))
        for pattern in ("%Y-%m-%d", *_DATE_FORMATS[1:2], *_DATE_FORMATS[3:])
    ]
    months = [
        pl.concat_str(pl.col("text").str.replace_all("/", "-"), pl.lit("-01"))
        .str.to_date(format="%Y-%m-%d", strict=False, exact=True)
        .cast(pl.Datetime("us"))
    ]
    zone = [
        pl.col("text")
        .str.replace(r"[Zz]$", "+00:00")
        .str.replace(" ", "T", literal=True)
        .str.to_datetime(time_unit="us", strict=False, exact=True, format=pattern, time_zone="UTC")
        for pattern in ("%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M:%S%.f%z")
    ]
    unzoned = pl.coalesce(*plain, *days, *months).dt.replace_time_zone("UTC")
    return frame.select(
        pl.when("zoned").then(pl.coalesce(*zone)).otherwise(unzoned).alias(series.name)
    ).to_series()


def _shown(columns: Sequence[str]) -> str:
    return ", ".join(columns[:12]) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
