"""The target: whether its values are such as the task can learn, and which classes there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnusableTarget
from flyball.core.project import ModelSection
from flyball.core.records import label_text

if TYPE_CHECKING:
    import polars as pl

Label = str | int | bool
MOST_CLASSES = 1000


def check_target(
    series: pl.Series, model: ModelSection
) -> tuple[pl.Series, list[Label] | None, Label | None]:
    """The target as it is trained on, its classes in order, and the positive one of a binary task.

    series: without nulls, at least one row. A regression's target becomes Float64; classes that are whole numbers
    written as floats become integers. Raises UnusableTarget.
    """
    if model.task == "regression":
        return _check_number(series, model), None, None
    series = _check_labels(series, model)
    classes: list[Label] = sorted(series.unique().to_list())
    _check_count(classes, series, model)
    if model.task == "multiclass":
        return series, classes, None
    return series, classes, _positive(classes, model)


def _check_number(series: pl.Series, model: ModelSection) -> pl.Series:
    import polars as pl

    name = model.target
    if series.dtype == pl.String:
        _refuse_words(series, name)
    if not series.dtype.is_numeric():
        raise UnusableTarget(
            f'the target {name!r} holds {series.dtype} (first: {series[0]!r}); task = "regression" needs numbers. '
            'For classes use task = "binary" or "multiclass"',
            column=name,
        )
    numbers = series.cast(pl.Float64)
    bad = (~numbers.is_finite()).arg_true()
    if len(bad):
        row = int(bad[0])
        raise UnusableTarget(
            f"the target {name!r} is {numbers[row]} in {len(bad)} of {len(numbers)} rows (first: labelled row "
            f"{row + 1}); correct them in the source, or leave their {name} empty to leave the rows out",
            column=name,
            row=row,
            rows=len(bad),
        )
    if numbers.n_unique() == 1:
        raise UnusableTarget(f"the target {name!r} is {numbers[0]:g} in every row; there is nothing to learn")
    return numbers


def _refuse_words(series: pl.Series, name: str) -> None:
    """Raises UnusableTarget that names the first word, where most of the values are numbers."""
    import polars as pl

    words = series.str.strip_chars().cast(pl.Float64, strict=False).is_null()
    count = int(words.sum())
    if not 0 < count * 2 < len(series):
        return
    row = int(words.arg_true()[0])
    raise UnusableTarget(
        f"the target {name!r} holds text: {len(series) - count} of {len(series)} values are numbers, but labelled row "
        f"{row + 1} is {series[row]!r}"
        + (f" ({count} such rows in all)" if count > 1 else "")
        + f"; correct them in the source, or leave their {name} empty to leave the rows out",
        column=name,
        row=row,
        rows=count,
    )


def _check_labels(series: pl.Series, model: ModelSection) -> pl.Series:
    import polars as pl

    if series.dtype.is_float():
        whole = series.is_finite() & (series.floor() == series)
        if not whole.all():
            row = int((~whole).arg_true()[0])
            raise UnusableTarget(
                f"the target {model.target!r} holds {series[row]} (labelled row {row + 1}), which is no class; "
                'for numbers use task = "regression"',
                column=model.target,
                row=row,
            )
        return series.cast(pl.Int64)
    if series.dtype.is_integer():
        return series.cast(pl.Int64)
    if series.dtype in (pl.String, pl.Boolean):
        return series
    raise UnusableTarget(
        f"the target {model.target!r} holds {series.dtype}; classes are text, whole numbers or booleans",
        column=model.target,
    )


def _check_count(classes: list[Any], series: pl.Series, model: ModelSection) -> None:
    shown = ", ".join(repr(label) for label in classes[:6]) + (", …" if len(classes) > 6 else "")
    if len(classes) == 1:
        raise UnusableTarget(
            f"the target {model.target!r} is {classes[0]!r} in every row; there is nothing to learn",
            column=model.target,
        )
    if model.task == "binary" and len(classes) > 2:
        raise UnusableTarget(
            f'task = "binary" needs two classes and the target {model.target!r} has {len(classes)}: {shown}; use '
            'task = "multiclass" or "regression"',
            column=model.target,
            classes=len(classes),
        )
    if len(classes) > MOST_CLASSES or (len(classes) > 20 and len(classes) > len(series) / 2):
        raise UnusableTarget(
            f"the target {model.target!r} has {len(classes)} classes in {len(series)} rows ({shown}); is it a "
            'number to predict (task = "regression"), or an identifier?',
            column=model.target,
            classes=len(classes),
        )


def _positive(classes: list[Label], model: ModelSection) -> Label:
    """The class that [model].positive names; the last in order by default: 1 of 0 and 1, yes of no and yes."""
    if model.positive is None:
        return classes[-1]
    for label in classes:
        if label_text(label) == label_text(model.positive):
            return label
    raise UnusableTarget(
        f"[model].positive is {model.positive!r}, and the target {model.target!r} has only "
        f"{' and '.join(repr(label) for label in classes)}",
        column=model.target,
    )
