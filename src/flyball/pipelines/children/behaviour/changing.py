"""Tests that change real rows and look at what becomes of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flyball.core.project import ModelTestSection
from flyball.judge.behaviour.changes import Grid, are_usable, keeps_class, moves, stays
from flyball.judge.behaviour.found import Found, not_shown, sizes
from flyball.pipelines.children.behaviour.results import Shown
from flyball.pipelines.children.behaviour.subject import Subject, put

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MOST_VALUES = 10
MOST_GRID = 20
GRID_ROWS = 500
NOISE_DRAWS = 3


def invariance(test: ModelTestSection, subject: Subject) -> Shown:
    """Other values of a feature, and nothing else changed."""
    assert test.feature is not None and test.max_change is not None
    column, sample = subject.column(test.feature), subject.sample
    values = test.values or _common_values(column)
    if len(values) < 2:
        return not_shown(f"{test.feature} has one value only in the held-out rows; give values"), []
    changed = [put(sample, test.feature, value) for value in values]
    return _compare(subject, sample, changed, test)


def direction(test: ModelTestSection, subject: Subject) -> Shown:
    """More of a feature, from its least to its greatest value, in real rows."""
    import polars as pl

    assert test.feature is not None and test.effect is not None
    column, rows = subject.column(test.feature), subject.sample
    rows = rows if rows.height <= GRID_ROWS else rows.gather_every(-(-rows.height // GRID_ROWS))
    values = test.values or _quantiles(column)
    if len(values) < 2:
        return not_shown(f"{test.feature} has less than two values that have an order; give values"), []
    changed = [put(rows, test.feature, value) for value in values]
    asked = subject.ask(pl.concat(changed, how="vertical_relaxed"))
    grid = Grid(asked.reshape(len(values), rows.height).T)
    found = grid.monotone(
        effect=test.effect, tolerance=test.max_change or 0.0, max_share=test.max_share or 0.0
    )
    examples = []
    for row in found.worst:
        small, large = grid.steepest(row, test.effect)
        examples.append(
            subject.example(
                rows.row(row, named=True),
                {test.feature: [values[small], values[large]]},
                before=subject.shown(grid.answers[row, small]),
                after=subject.shown(grid.answers[row, large]),
            )
        )
    return found, examples


def noise(test: ModelTestSection, subject: Subject) -> Shown:
    """Numbers a little off, as rounding and sensors make them, within the contract's limits."""
    sample = subject.sample
    names = test.features or [
        name
        for name, rule in subject.contract.features.items()
        if rule.type in ("int", "float") and rule.values is None
    ]
    for name in names:
        subject.column(name)
    if not names:
        return not_shown("the model has no numeric feature"), []
    rng = np.random.default_rng(subject.project.train.seed)
    draws = [_with_noise(subject, sample, names, test.amount or 0.01, rng) for _ in range(NOISE_DRAWS)]
    return _compare(subject, sample, draws, test)


def missing(test: ModelTestSection, subject: Subject) -> Shown:
    """Each feature that the contract lets be absent, absent."""
    rules = subject.contract.features
    for name in test.features:
        subject.column(name)
    names = test.features or [name for name, rule in rules.items() if rule.nullable]
    if not names:
        because = "no feature may be absent by the contract; name the features, or set nullable in [contract.features]"
        return not_shown(because), []
    sample = subject.sample
    changed = [put(sample, name, None) for name in names]
    return _compare(subject, sample, changed, test)


def metamorphic(test: ModelTestSection, subject: Subject) -> Shown:
    """Several features changed together: multiplied, shifted, or passed round."""
    import polars as pl

    assert test.effect is not None
    sample = subject.sample
    for name in (*test.scale, *test.shift, *test.swap):
        subject.column(name)
    changes = [pl.col(name) * factor for name, factor in test.scale.items()]
    changed = sample.with_columns(changes)
    changed = changed.with_columns(pl.col(name) + number for name, number in test.shift.items())
    if test.swap:
        following = [*test.swap[1:], test.swap[0]]
        changed = changed.with_columns(
            sample.get_column(source).alias(name) for name, source in zip(test.swap, following, strict=True)
        )
    return _compare(subject, sample, [changed], test)


def _compare(
    subject: Subject, sample: pl.DataFrame, changed: list[pl.DataFrame], test: ModelTestSection
) -> Shown:
    """The verdict over real rows, each with the change that moved its answer most, and the rows that show a failure."""
    import polars as pl

    asked = subject.ask(pl.concat([sample, *changed], how="vertical_relaxed"))
    shape = (len(changed), sample.height, *asked.shape[1:])
    old, every = asked[: sample.height], asked[sample.height :].reshape(shape)
    # One change a row: a row counts once, however often it was changed, or shares would look surer than they are.
    moved = np.stack([_severity(subject, old, new, test) for new in every])
    most = np.nan_to_num(moved, nan=np.inf).argmax(axis=0)
    rows = np.arange(sample.height)
    new = every[most, rows]
    found = _judge(subject, old, new, test)
    examples = []
    for row in found.worst:
        one, other = sample.row(row, named=True), changed[most[row]].row(row, named=True)
        pairs = {name: [one[name], other[name]] for name in one if one[name] != other[name]}
        examples.append(
            subject.example(one, pairs, before=subject.shown(old[row]), after=subject.shown(new[row]))
        )
    return found, examples


def _severity(
    subject: Subject, old: NDArray[np.float64], new: NDArray[np.float64], test: ModelTestSection
) -> NDArray[np.float64]:
    """How far each row's answer moved; one that crosses to another class first, where that is what is asked."""
    moved = sizes(old, new)
    if test.max_change is None and test.max_share is not None and subject.predictor.classes is not None:
        moved = moved + (subject.decided(old) != subject.decided(new))
    return moved


def _judge(
    subject: Subject, old: NDArray[np.float64], new: NDArray[np.float64], test: ModelTestSection
) -> Found:
    share = test.max_share or 0.0
    if test.effect is not None and test.effect != "same":
        return moves(old, new, effect=test.effect, tolerance=test.max_change or 0.0, max_share=share)
    if test.max_change is not None or test.effect == "same":
        return stays(old, new, max_change=test.max_change or 0.0, max_share=share)
    if test.max_share is None:
        return are_usable(new)
    if subject.predictor.classes is None:
        return not_shown("max_share is about classes here; a regression test needs max_change beside it")
    other = subject.decided(old) != subject.decided(new)
    return keeps_class(other, sizes(old, new), max_share=share)


def _with_noise(
    subject: Subject, sample: pl.DataFrame, names: list[str], amount: float, rng: np.random.Generator
) -> pl.DataFrame:
    import polars as pl

    columns = []
    for name in names:
        column, rule = sample.get_column(name), subject.contract.features[name]
        if not column.dtype.is_numeric():
            continue
        spread = subject.train.get_column(name).cast(pl.Float64, strict=False).std()
        # The spread of a column of floats is a float or None; its type allows for columns of time spans.
        steps = rng.normal(0.0, amount * float(spread or 0.0), sample.height)  # type: ignore[arg-type]
        moved = column.cast(pl.Float64) + pl.Series(steps)
        moved = moved.round(0) if rule.type == "int" else moved
        if rule.min is not None or rule.max is not None:
            moved = moved.clip(rule.min, rule.max)
        columns.append(moved.cast(column.dtype, strict=False).alias(name))
    return sample.with_columns(columns)


def _common_values(column: pl.Series) -> list[Any]:
    """The most frequent values of a column, at most ten; of many numbers, ten quantiles."""
    known = column.drop_nulls()
    if known.dtype.is_numeric() and known.n_unique() > MOST_VALUES:
        return _quantiles(column, MOST_VALUES)
    counted = known.value_counts(sort=True)
    return sorted(counted.get_column(column.name).head(MOST_VALUES).to_list())


def _quantiles(column: pl.Series, most: int = MOST_GRID) -> list[Any]:
    """Values of a column in order: all, or so many spread over its ranks. None of a text column, which has no order."""
    if not column.dtype.is_numeric() and not column.dtype.is_temporal():
        return []
    values = column.drop_nulls().sort()
    if values.dtype.is_float():
        values = values.drop_nans()
    distinct = values.unique().sort()
    if distinct.len() <= most:
        return distinct.to_list()
    places = np.linspace(0, values.len() - 1, most).round().astype(int)
    return sorted(set(values.gather(places.tolist()).to_list()))
