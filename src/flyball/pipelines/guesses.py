"""What a table suggests about a project: task, positive class, event time, entity, columns to leave out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyball.core.errors import BadInput
from flyball.core.project import Task
from flyball.pipelines.shape import nearest

if TYPE_CHECKING:
    import polars as pl

_TARGETS = ("target", "label", "y", "outcome", "class")
_TIMES = ("ts", "time", "timestamp", "datetime", "date", "at", "month", "day")
_ENTITY = re.compile(r"^(.*_)?(id|nbr|number|key|customer|client|user|patient|account)$", re.IGNORECASE)
_DATE_START = re.compile(r"^\s*\d{4}[-/]\d{1,2}")
_POSITIVE = ("1", "true", "yes", "y", "positive", "bad", "default", "churned", "fraud")
MOST_CLASSES = 30
MOST_LISTED = 60
WINDOW_DAYS = (1, 2, 7, 14, 28)


def guess_target(frame: pl.DataFrame, given: str | None) -> str:
    """The column to predict. Raises BadInput when it is not there, or not given and no column is called so."""
    if given is not None:
        if given in frame.columns:
            return given
        within = [column for column in frame.columns if given.casefold() in column.casefold()]
        near = nearest(given, frame.columns) or (within[0] if len(within) == 1 else None)
        raise BadInput(
            f"the data have no column {given!r}"
            + (f"; did you mean {near!r}?" if near else f"; they have {_listed(frame.columns)}"),
            column=given,
        )
    for name in _TARGETS:
        if name in frame.columns:
            return name
    raise BadInput(
        f"name the column to predict with --target; the data have {_listed(frame.columns)}",
        columns=frame.columns,
    )


def _listed(columns: list[str]) -> str:
    more = len(columns) - MOST_LISTED
    return ", ".join(columns[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def guess_task(frame: pl.DataFrame, target: str) -> Task:
    """Binary for two values, multiclass for up to 30 texts or a few whole numbers from 0 or 1 on, else regression."""
    import polars as pl

    column = frame.get_column(target).drop_nulls()
    count = column.n_unique()
    if count < 2:
        raise BadInput(
            f"the target {target!r} has {count} different value{'s' if count != 1 else ''}: nothing to predict",
            column=target,
        )
    if count == 2:
        return "binary"
    if column.dtype in (pl.String, pl.Categorical) or isinstance(column.dtype, pl.Enum):
        if count <= MOST_CLASSES:
            return "multiclass"
        raise BadInput(
            f"the target {target!r} is text with {count} different values; predict a number, or at most "
            f"{MOST_CLASSES} classes",
            column=target,
        )
    if not column.dtype.is_numeric():
        raise BadInput(
            f"the target {target!r} is of type {column.dtype}; predict a number or a class", column=target
        )
    if column.dtype.is_integer() and count <= 10:
        values = column.unique().sort().to_list()
        if values in (list(range(count)), list(range(1, count + 1))):
            return "multiclass"
    return "regression"


def guess_positive(frame: pl.DataFrame, target: str) -> str | int | bool:
    """Of two classes the one that is meant by a yes: 1, true, yes, …; else the rarer one."""
    import polars as pl

    column = frame.get_column(target).drop_nulls()
    values = column.unique().sort().to_list()
    chosen = next((value for value in values if str(value).lower() in _POSITIVE), None)
    if chosen is None:
        counts = column.value_counts().sort(["count", target])
        chosen = counts.get_column(target)[0]
    if isinstance(chosen, float):
        return int(chosen) if chosen.is_integer() else str(chosen)
    return chosen if column.dtype in (pl.Boolean, pl.String) or isinstance(chosen, int) else str(chosen)


def guess_time(frame: pl.DataFrame, target: str) -> str | None:
    """The column that holds the event time: a date by type or by its text, with a telling name if there are several."""
    import polars as pl

    found = []
    for column in frame.get_columns():
        if column.name == target:
            continue
        is_time = column.dtype in (pl.Date, pl.Datetime) or isinstance(column.dtype, pl.Datetime)
        if is_time or (column.dtype == pl.String and _are_moments(column)):
            found.append(column.name)
    if len(found) <= 1:
        return found[0] if found else None
    named = [name for name in found if name.lower() in _TIMES]
    return named[0] if named else None


def _are_moments(column: pl.Series) -> bool:
    """Whether a text column holds dates: every one of up to 100 spread values does, and they differ."""
    from flyball.data.columns import event_times

    values = column.drop_nulls()
    if values.n_unique() < 2 or not all(_DATE_START.match(value) for value in values.head(100)):
        return False
    try:
        event_times(values.gather_every(max(1, len(values) // 100)).to_frame("at"), "at")
    except BadInput:
        return False
    return True


def guess_entity(frame: pl.DataFrame, taken: set[str]) -> str | None:
    """The one column that says whom a row is about: named like an id, with values that repeat, and many of them."""
    found = []
    for column in frame.get_columns():
        if column.name in taken or not _ENTITY.match(column.name) or column.dtype.is_float():
            continue
        distinct = column.n_unique()
        if max(20, frame.height // 1000) < distinct < 0.95 * frame.height:
            found.append(column.name)
    return found[0] if len(found) == 1 else None


def guess_excluded(frame: pl.DataFrame, taken: set[str]) -> dict[str, str]:
    """Columns that can't be features, with the reason: row numbers, constants, further dates."""
    import polars as pl

    reasons: dict[str, str] = {}
    for column in frame.get_columns():
        if column.name in taken:
            continue
        distinct = column.n_unique()
        is_text = column.dtype in (pl.String, pl.Categorical)
        if distinct == frame.height and (
            is_text or (column.dtype.is_integer() and _ENTITY.match(column.name))
        ):
            reasons[column.name] = "different in every row"
        elif distinct == 1:
            reasons[column.name] = "the same in every row"
        elif column.dtype.is_temporal() or (is_text and _are_moments(column)):
            reasons[column.name] = "a date; needs a step that makes numbers of it"
        elif not (is_text or column.dtype.is_numeric() or column.dtype == pl.Boolean):
            reasons[column.name] = f"of type {column.dtype}"
    return reasons


def guess_pace(frame: pl.DataFrame, time: str | None) -> dict[str, dict[str, str | int]]:
    """Settings that the table's traffic can decide, where the defaults ask for more; by section, maybe none.

    A window has to hold `min_rows` rows, and a canary's share of the requests has to fill its steps in time.
    """
    from flyball.core.project import MonitorSection, RolloutSection
    from flyball.data.columns import event_times

    if time is None or frame.height < 2:
        return {}
    times = event_times(frame, time).drop_nulls()
    days = (times.max() - times.min()).total_seconds() / 86_400  # type: ignore[operator,union-attr]  # a column of moments
    if days <= 0:
        return {}
    pace, settings = frame.height / days, dict[str, dict[str, str | int]]()
    monitor, rollout = MonitorSection(), RolloutSection()
    if pace < monitor.min_rows:
        window = next(
            (length for length in WINDOW_DAYS if length * pace >= monitor.min_rows), WINDOW_DAYS[-1]
        )
        settings["monitor"] = {"window": f"{window}d"}
        if window * pace < monitor.min_rows:
            settings["monitor"]["min_rows"] = max(20, int(window * pace * 0.7))
    needed = sum(rollout.min_requests / (pace * share) for share in rollout.steps if share < 1)
    if needed > float(rollout.max_duration.removesuffix("d")):
        settings["rollout"] = {"strategy": "shadow"}
    return settings
