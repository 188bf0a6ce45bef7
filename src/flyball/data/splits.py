"""Dividing rows into training, validation and test: by time, at random or by group."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.clock import isoformat
from flyball.core.durations import parse_duration
from flyball.core.errors import BadInput, EmptySplit
from flyball.core.project import SplitSection, Task
from flyball.data.columns import check_columns
from flyball.data.findings import Finding
from flyball.data.overlaps import find_shared_entities, find_shared_rows, find_unseen_classes

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from flyball.data.rows import Rows

    Index = np.ndarray[Any, np.dtype[np.int64]]


class Fold(msgspec.Struct, frozen=True):
    """One fold of a walk forward: row numbers of `Rows.frame`, everything in `train` before everything in `test`."""

    train: list[int]
    test: list[int]


class Split:
    """The three parts, rows in their original order, and what stands out about the division.

    `rows`: row numbers of each part in `Rows.frame`. `boundaries`: first moment of validation and test (by time).
    `left_out`: rows in a gap. `folds`: walk-forward folds over the rows before the test part, when asked for.
    """

    def __init__(self, by: str, frame: pl.DataFrame, rows: dict[str, Index]) -> None:
        self.by = by
        self.rows = {name: numbers.tolist() for name, numbers in rows.items()}
        self.train, self.validation, self.test = (
            frame[rows[name]] for name in ("train", "validation", "test")
        )
        self.left_out = frame.height - sum(len(numbers) for numbers in rows.values())
        self.boundaries: dict[str, str] = {}
        self.folds: list[Fold] = []
        self.findings: list[Finding] = []


def split_rows(
    rows: Rows, section: SplitSection, *, target: str, task: Task, entity: str | None = None, seed: int = 0
) -> Split:
    """Divide rows as [data.split] says; by time when they have times and it says nothing, else at random.

    By time the last rows are the test, the ones before them validation; rows of one moment stay together, and
    rows whose moment is within `gap` of the next part, or whose outcome is only known in it (`horizon`), are left
    out. At random, classes keep their shares in each part. By group, a group is never divided.
    Raises EmptySplit when a part would hold no rows, BadInput, UnknownColumn.
    """
    by = section.by or ("time" if rows.times is not None else "random")
    if not 0 < section.test < 1 or not 0 <= section.validation < 1 or section.test + section.validation >= 1:
        raise BadInput(
            f"[data.split]: test = {section.test:g} and validation = {section.validation:g} leave nothing to train "
            "on; test is above 0, and both together stay below 1"
        )
    if by == "time":
        split = _by_time(rows, section)
    elif by == "group":
        split = _by_group(rows, section, seed)
    else:
        split = _at_random(rows, section, target, task, seed)
    _check_parts(split, section, rows.frame.height)
    split.findings += find_shared_rows(split.train, split.test, [*rows.features, target])
    if task != "regression":
        split.findings += find_unseen_classes(split.train, split.test, target)
    if entity is not None and by == "random":
        split.findings += find_shared_entities(split.train, split.test, entity)
    return split


def _by_time(rows: Rows, section: SplitSection) -> Split:
    import numpy as np

    if rows.times is None:
        raise BadInput(
            '[data.split].by is "time", and [model].time names no column; name one, or split otherwise'
        )
    moments = rows.times.to_physical().to_numpy()
    ordered = np.sort(moments, kind="stable")
    count = len(ordered)
    guard = _microseconds(max(_duration(section.gap, "gap"), _duration(section.horizon, "horizon")))
    test_from = ordered[min(count - round(section.test * count), count - 1)]
    before = int(np.searchsorted(ordered, test_from))
    validation_count = round(section.validation * count)
    validation_from = ordered[max(before - validation_count, 0)] if validation_count and before else test_from
    parts = {
        "train": _before(moments, validation_from, guard),
        "validation": _before(moments, test_from, guard) & (moments >= validation_from),
        "test": moments >= test_from,
    }
    split = Split("time", rows.frame, {name: np.flatnonzero(mask) for name, mask in parts.items()})
    split.boundaries = {"validation": _moment(validation_from), "test": _moment(test_from)}
    if section.folds:
        split.folds = _walk_forward(moments, test_from, section.folds, guard)
    return split


def _before(moments: Index, boundary: Any, guard: int) -> Any:
    return (moments < boundary) & (moments + guard <= boundary)


def _walk_forward(moments: Index, test_from: Any, folds: int, guard: int) -> list[Fold]:
    """Expanding training, each fold tested on the next of folds + 1 stretches of equally many rows."""
    import numpy as np

    ordered = np.sort(moments[moments < test_from])
    if folds < 1 or len(ordered) < 2 * (folds + 1):
        raise EmptySplit(
            f"[data.split].folds = {folds} needs at least {2 * (folds + 1)} rows before the test part; "
            f"there are {len(ordered)}"
        )
    edges = [ordered[len(ordered) * step // (folds + 1)] for step in range(1, folds + 1)] + [test_from]
    found = []
    for start, end in pairwise(edges):
        train = np.flatnonzero(_before(moments, start, guard))
        test = np.flatnonzero((moments >= start) & _before(moments, end, 0))
        if not len(train) or not len(test):
            raise EmptySplit(
                f"[data.split].folds = {folds}: the fold from {_moment(start)} would hold no rows to "
                f"{'train' if not len(train) else 'test'} on; use fewer folds or a smaller gap"
            )
        found.append(Fold(train.tolist(), test.tolist()))
    return found


def _at_random(rows: Rows, section: SplitSection, target: str, task: Task, seed: int) -> Split:
    import numpy as np

    random = np.random.default_rng(seed)
    numbers = np.arange(rows.frame.height)
    strata = [numbers]
    if task != "regression":
        codes = rows.frame[target].rank("dense").to_numpy() if rows.frame.height else numbers
        strata = [numbers[codes == code] for code in np.unique(codes)]
    parts: dict[str, list[Any]] = {"train": [], "validation": [], "test": []}
    for stratum in strata:
        mixed = random.permutation(stratum)
        test_count = round(section.test * len(mixed))
        validation_count = round(section.validation * len(mixed))
        parts["test"].append(mixed[:test_count])
        parts["validation"].append(mixed[test_count : test_count + validation_count])
        parts["train"].append(mixed[test_count + validation_count :])
    return Split("random", rows.frame, {name: np.sort(np.concatenate(part)) for name, part in parts.items()})


def _by_group(rows: Rows, section: SplitSection, seed: int) -> Split:
    import numpy as np

    if section.column is None:
        raise BadInput('[data.split].by is "group"; say which with column = "…"')
    check_columns([section.column], rows.frame.columns, "[data.split].column")
    series = rows.frame[section.column]
    if series.null_count():
        row = int(series.is_null().arg_true()[0])
        raise BadInput(
            f"[data.split].column: {section.column!r} is empty in {series.null_count()} rows (first: row {row + 1}); "
            "each row needs its group",
            column=section.column,
            row=row,
        )
    codes = series.rank("dense").to_numpy().astype(np.int64) - 1
    sizes = np.bincount(codes)
    order = np.random.default_rng(seed).permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    # A group goes where its middle falls, so that parts come closest to their shares.
    middles = (ends - sizes[order] / 2) / len(codes)
    part_of = np.full(len(sizes), 2)
    part_of[order[middles < section.test + section.validation]] = 1
    part_of[order[middles < section.test]] = 0
    of_rows = part_of[codes]
    names = ("test", "validation", "train")
    return Split(
        "group", rows.frame, {name: np.flatnonzero(of_rows == part) for part, name in enumerate(names)}
    )


def _check_parts(split: Split, section: SplitSection, total: int) -> None:
    sizes = {name: len(numbers) for name, numbers in split.rows.items()}
    wanted = [name for name in sizes if name != "validation" or section.validation > 0]
    empty = [name for name in wanted if not sizes[name]]
    if not empty:
        return
    shown = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    why = {
        "time": "too few different moments, or too long a gap",
        "group": "too few groups, or one that holds most rows",
        "random": "too few rows",
    }[split.by]
    raise EmptySplit(
        f"the {empty[0]} part of the split would hold no rows ({shown} of {total:,}): {why}. Change [data.split], "
        "or give more data",
        by=split.by,
        **sizes,
    )


def _duration(text: str | None, key: str) -> timedelta:
    if text is None:
        return timedelta(0)
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(f"[data.split].{key}: {error}") from error


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _moment(microseconds: Any) -> str:
    from datetime import UTC, datetime

    return isoformat(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds)))
