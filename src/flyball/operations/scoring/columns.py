"""Which columns of a source a model is sent, which the output keeps, and which it gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadAnswer, BadInput, UnknownColumn
from flyball.operations.asking import plain
from flyball.operations.cells import with_numbers
from flyball.operations.scoring.answers import Answers, ServedModel

if TYPE_CHECKING:
    import polars as pl

AFTER = ("version", "prediction_id", "flags", "problem")
_UNSAFE = re.compile(r"[^0-9A-Za-z_]+")


class Columns:
    """sent: features, entity and time. kept: what is no feature, as it came; the log's rules are for the log only."""

    def __init__(self, names: Sequence[str], served: ServedModel) -> None:
        """Raises UnknownColumn for a source that lacks a feature, BadInput for one with a column of the output's."""
        for feature in served.features:
            if feature not in names:
                near = get_close_matches(feature, names, n=1)
                hint = f"; did you mean its {near[0]!r}?" if near else ""
                raise UnknownColumn(
                    f"INPUT has no column {feature!r}, which {served.name} needs{hint}. Where it is unknown, leave its "
                    "cells empty",
                    column=feature,
                )
        self._served = served
        own = [name for name in (served.entity, served.time) if name is not None and name in names]
        self.sent = list(dict.fromkeys([*served.features, *own]))
        self.kept = [name for name in names if name not in served.features or name in own]
        self.scores = _score_names(served.classes or [])
        taken = [name for name in self.kept if name in ("prediction", *self.scores, *AFTER)]
        if taken:
            raise BadInput(
                f"INPUT has a column {taken[0]!r}, and OUTPUT has one of its own by that name; rename the first",
                column=taken[0],
            )
        self._kind = _kind_of(served)

    def rows_of(self, frame: pl.DataFrame) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
        """The rows as they are sent, and what is wrong with those that can't be sent."""
        import polars as pl

        sent = with_numbers(frame.select(self.sent), self._served.types)
        # A length of time is no moment, and as JSON has it no feature either: the server says so of its row.
        moments = [name for name, kind in sent.schema.items() if kind.is_temporal() and kind != pl.Duration]
        texts = [pl.Series(name, [plain(value) for value in sent[name]], dtype=pl.String) for name in moments]
        rows = (sent.with_columns(texts) if texts else sent).rows()
        problems: dict[int, str] = {}
        for name, kind in sent.schema.items():
            # NaN is how tables write a missing value; an infinity is a value, and JSON has none.
            if kind.is_float():
                for index in sent[name].is_infinite().fill_null(False).arg_true():
                    problems.setdefault(
                        index, f"{name}: not_finite: got {sent[name][index]}, expected a number"
                    )
        return rows, problems

    def answered(self, frame: pl.DataFrame, answers: Answers) -> pl.DataFrame:
        """Rows of the output. Raises BadAnswer for a prediction of another type than those before."""
        import polars as pl

        predictions = answers.predictions
        if self._kind is None:
            self._kind = _kind_of_values(predictions)
        types: dict[type, Any] = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String}
        kind = self._kind or str
        try:
            told = pl.Series(
                "prediction",
                [None if value is None else _as(kind, value) for value in predictions],
                types[kind],
            )
        except ValueError as error:
            raise BadAnswer(
                f"{self._served.name} answered with predictions of several types: {error}"
            ) from error
        scores = [
            pl.Series(name, [None if row is None else row[place] for row in answers.scores], pl.Float64)
            for place, name in enumerate(self.scores)
        ]
        added = [
            told,
            *scores,
            pl.Series("version", answers.versions, pl.Int64),
            pl.Series("prediction_id", answers.ids, pl.String),
            pl.Series("flags", [", ".join(flags) if flags else None for flags in answers.flags], pl.String),
            pl.Series("problem", answers.problems, pl.String),
        ]
        # A frame without columns has no rows either, and a source of features only keeps none.
        return pl.DataFrame([*frame.select(self.kept).get_columns(), *added])


def _score_names(classes: Sequence[Any]) -> list[str]:
    """A column for each class, of letters, digits and underscores; classes that would share one get numbers.

    >>> _score_names(["yes", "no!", "no?", -1])
    ['score_yes', 'score_no_', 'score_no__2', 'score__1']
    """
    names: list[str] = []
    for label in classes:
        name = first = f"score_{_UNSAFE.sub('_', str(label))}"
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
    return names


def _kind_of(served: ServedModel) -> type | None:
    if served.is_regression:
        return float
    return _kind_of_values(served.classes or [])


def _kind_of_values(values: Sequence[Any]) -> type | None:
    """The one type of all values, text where there are several; None without a value."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return float
    found = kinds.pop() if len(kinds) == 1 else str if kinds else None
    return found if found in (bool, int, float, str, None) else str


def _as(kind: type, value: Any) -> Any:
    """Raises ValueError for a value that is none of the kind."""
    if kind is str:
        return str(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
