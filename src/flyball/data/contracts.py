"""Contracts of frames: inferred from rows, and checked on whole columns exactly as `core.contract` checks a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from flyball.core.contract import Contract, FeatureRule, FeatureType, Violation, check_row, violates
from flyball.core.errors import SourceUnreadable

if TYPE_CHECKING:
    import polars as pl

SLACK = 0.25
MOST_VALUES = 50
_ROWS_A_VALUE = 20


def infer_contract(frame: pl.DataFrame, features: Sequence[str]) -> Contract:
    """The contract that these rows suggest, a rule per feature in the order given.

    Numbers: the range seen, widened on each side by a quarter of its width; nothing that was never negative may
    become so. Text: the values seen, where there are at most 50 and each came 20 times on average; any text
    otherwise. Nullable: what was null somewhere. What people know better, they write into [contract].
    """
    return Contract(features={name: _infer_rule(frame[name]) for name in features})


def check_frame(contract: Contract, frame: pl.DataFrame, limit: int = 1000) -> list[Violation]:
    """The broken rules of a frame, row by row, at most `limit`; the same as `check_row` finds on `row_values`."""
    found: list[Violation] = []
    for row in _bad_rows(contract, frame):
        found.extend(check_row(contract, row_values(frame, contract, row), row))
        if len(found) >= limit:
            return found[:limit]
    return found


def row_values(frame: pl.DataFrame, contract: Contract, row: int) -> dict[str, Any]:
    """A row of a frame as a request would carry it: moments as ISO 8601 text, only the contract's features."""
    names = [name for name in contract.features if name in frame.columns]
    return {name: _request_value(frame[name][row]) for name in names}


def _infer_rule(series: pl.Series) -> FeatureRule:
    import polars as pl

    kind = _feature_type(series)
    values = series.drop_nulls()
    nullable = len(values) < len(series)
    if kind in ("int", "float"):
        finite = values.filter(values.is_finite()) if kind == "float" else values
        if finite.is_empty():
            return FeatureRule(type=kind, nullable=nullable)
        low, high = finite.min(), finite.max()
        if kind == "int":
            widest = _widened_integers(int(low), int(high))  # type: ignore[arg-type]  # min and max of numbers
        else:
            widest = _widened(float(low), float(high))  # type: ignore[arg-type]  # min and max of numbers
        return FeatureRule(type=kind, nullable=nullable, min=widest[0], max=widest[1])
    if kind == "string" and series.dtype == pl.String:
        known = values.unique().sort()
        if 0 < len(known) <= MOST_VALUES and len(values) >= _ROWS_A_VALUE * len(known):
            return FeatureRule(type=kind, nullable=nullable, values=tuple(known.to_list()))
    return FeatureRule(type=kind, nullable=nullable)


def _feature_type(series: pl.Series) -> FeatureType:
    import polars as pl

    kind = series.dtype
    if kind == pl.Boolean:
        return "bool"
    if kind.is_integer():
        return "int"
    if kind.is_float():
        return "float"
    if isinstance(kind, pl.Date | pl.Datetime):
        return "datetime"
    if kind in (pl.String, pl.Categorical, pl.Enum, pl.Time, pl.Null):
        return "string"
    raise SourceUnreadable(
        f"column {series.name!r} holds {kind}; a feature is a number, text, boolean or moment. Exclude it, or turn "
        "it into one in the source",
        column=series.name,
    )


def _widened(low: float, high: float) -> tuple[float, float]:
    slack = SLACK * high - SLACK * low  # in this order, since high - low may overflow
    widest_low = max(low - slack, 0.0) if low >= 0 else low - slack
    widest_high = min(high + slack, 0.0) if high <= 0 else high + slack
    return _rounded(widest_low, low, math.floor), _rounded(widest_high, high, math.ceil)


def _widened_integers(low: int, high: int) -> tuple[float, float]:
    slack = math.ceil(SLACK * (high - low))
    widest_low = max(low - slack, 0) if low >= 0 else low - slack
    widest_high = min(high + slack, 0) if high <= 0 else high + slack
    return _outward(widest_low, -math.inf), _outward(widest_high, math.inf)


def _outward(bound: int, towards: float) -> float:
    """The nearest float that does not lie within the bound; above 2**53 not every integer is one."""
    near = float(bound)
    wrong = near > bound if towards < 0 else near < bound
    return math.nextafter(near, towards) if wrong else near


def _rounded(bound: float, seen: float, towards: Any) -> float:
    """A bound with three digits more than the range needs, rounded away from what was seen: readable in a file."""
    if bound == 0 or not math.isfinite(bound):
        return seen if not math.isfinite(bound) else 0.0
    digits = 3 - math.floor(math.log10(abs(bound)))
    if not -300 < digits < 300:
        return bound
    scale = 10.0**digits
    rounded = float(towards(bound * scale) / scale)
    return rounded if math.isfinite(rounded) else bound


def _bad_rows(contract: Contract, frame: pl.DataFrame) -> Iterator[int]:
    import polars as pl

    if not contract.features or frame.is_empty():
        return
    masks = [_bad(contract, frame, name) for name in contract.features]
    any_bad = pl.select(
        pl.any_horizontal(*(mask.alias(str(number)) for number, mask in enumerate(masks)))
    ).to_series()
    yield from any_bad.arg_true().to_list()


def _bad(contract: Contract, frame: pl.DataFrame, name: str) -> pl.Series:
    """Whether each row breaks the rule of one feature: never null."""
    import polars as pl

    rule = contract.features[name]
    if name not in frame.columns:
        return pl.repeat(not rule.nullable, frame.height, dtype=pl.Boolean, eager=True)
    series = frame[name]
    missing = series.is_null()
    broken = _broken(rule, series).fill_null(False)
    return broken if rule.nullable else broken | missing


def _broken(rule: FeatureRule, series: pl.Series) -> pl.Series:
    """Whether each value that is there breaks the rule; anything for nulls."""
    kind = series.dtype
    if kind.is_integer() and rule.type in ("int", "float"):
        return _outside_integers(rule, series)
    if kind.is_float() and rule.type in ("int", "float"):
        return _outside_floats(rule, series)
    # Few distinct values, or none that vectors could check faster than Python: the rule itself decides.
    distinct = series.drop_nulls().unique()
    bad = [value for value in distinct.to_list() if violates(rule, _request_value(value))]
    if len(bad) == len(distinct):
        return series.is_not_null()
    return series.is_in(_as_series(bad, series).implode())


def _as_series(values: list[Any], like: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series(values, dtype=like.dtype)


def _outside_integers(rule: FeatureRule, series: pl.Series) -> pl.Series:
    """In integers throughout: a float bound compared as a float would round large values."""
    import polars as pl

    wide = series.cast(pl.Int128)
    bad = pl.repeat(False, len(series), dtype=pl.Boolean, eager=True)
    if rule.min is not None and not math.isnan(rule.min):
        bad |= _below(wide, rule.min)
    if rule.max is not None and not math.isnan(rule.max):
        bad |= _above(wide, rule.max)
    if rule.values is not None:
        allowed = [int(value) for value in rule.values if isinstance(value, int)]
        bad |= ~wide.is_in(pl.Series(allowed, dtype=pl.Int128).implode())
    return bad


def _below(wide: pl.Series, bound: float) -> Any:
    return wide < _clipped(math.ceil(bound)) if math.isfinite(bound) else wide.is_not_null() & (bound > 0)


def _above(wide: pl.Series, bound: float) -> Any:
    return wide > _clipped(math.floor(bound)) if math.isfinite(bound) else wide.is_not_null() & (bound < 0)


def _clipped(value: int) -> int:
    return max(min(value, 2**100), -(2**100))


def _outside_floats(rule: FeatureRule, series: pl.Series) -> pl.Series:
    import polars as pl

    numbers = series.cast(pl.Float64)
    bad = ~numbers.is_finite()
    if rule.type == "int":
        bad |= numbers != numbers.floor()
    if rule.min is not None and not math.isnan(rule.min):
        bad |= numbers < rule.min
    if rule.max is not None and not math.isnan(rule.max):
        bad |= numbers > rule.max
    if rule.values is not None:
        allowed = [float(value) for value in rule.values if isinstance(value, int) and _is_exact(value)]
        bad |= ~numbers.is_in(pl.Series(allowed, dtype=pl.Float64).implode())
    return bad


def _is_exact(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _request_value(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value
