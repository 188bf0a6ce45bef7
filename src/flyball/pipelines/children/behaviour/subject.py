"""The model that is tested, and the rows it is tested with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from flyball.core.contract import Contract
from flyball.core.errors import BadAnswer, NotFound
from flyball.core.project import Project
from flyball.core.records import label_text
from flyball.pipelines.children.answering import Held
from flyball.pipelines.hidden import HIDDEN, hidden_columns, shown_row, shown_value, without_values
from flyball.registry.formats.answers import Answers, check_answers

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from flyball.registry.formats.answers import Predictor

MOST_ROWS = 2000
MOST_CELLS = 40


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A packaged model with real rows.

    test: held-out rows with target; held: its answers on them (with `refit`: those of the twin that had not seen them).
    groups: which of them belong together, None where each stands alone. champion: the folder of its package.
    """

    project: Project
    package: Path
    predictor: Predictor
    contract: Contract
    train: pl.DataFrame
    test: pl.DataFrame
    held: Held
    groups: Any
    positive: Any
    champion: Path | None
    twin: Callable[[pl.DataFrame], Answers] | None

    @property
    def features(self) -> list[str]:
        """The columns of a request."""
        return list(self.contract.features)

    def ask_twin(self, frame: pl.DataFrame) -> Answers:
        """Answers of the model that has not seen the held-out rows: a twin's where the packaged one has."""
        return self.answers(frame) if self.twin is None else self.twin(frame)

    @property
    def sample(self) -> pl.DataFrame:
        """Features of at most 2,000 held-out rows, spread over them."""
        rows = self.test.select(self.features)
        return rows if rows.height <= MOST_ROWS else rows.gather_every(-(-rows.height // MOST_ROWS))

    def column(self, name: str) -> pl.Series:
        """A feature in the held-out rows. Raises NotFound, naming the nearest there is."""
        if name not in self.features:
            from flyball.pipelines.shape import nearest

            near = nearest(name, self.features)
            raise NotFound(
                f"{name!r} is no feature of the model"
                + (f"; did you mean {near!r}?" if near else f"; it has {', '.join(self.features[:12])}")
            )
        return self.test.get_column(name)

    def ask(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Answers as numbers, shape (rows,) or (rows, classes); see `numbers_of`. Raises BadAnswer."""
        return self.numbers_of(self.answers(frame))

    def answers(self, frame: pl.DataFrame) -> Answers:
        """Usable answers on a frame's rows. Raises BadAnswer."""
        answers = self.predictor.predict_frame(frame)
        check_answers(answers, frame.height, self.predictor.classes)
        return answers

    def numbers_of(self, answers: Answers) -> NDArray[np.float64]:
        """The number of a regression, the probability of the positive class, or those of all classes.

        A classifier without probabilities gives 1.0 for the class it says.
        """
        classes = self.predictor.classes
        if classes is None:
            return np.asarray(answers.predictions, dtype=np.float64)
        if answers.scores is None:
            said = np.array([[value == known for known in classes] for value in answers.predictions], float)
        else:
            said = np.asarray(answers.scores, dtype=np.float64)
        if said.size and (said.min() < -1e-9 or said.max() > 1 + 1e-9):
            raise BadAnswer("a probability is not between 0 and 1")
        if self.project.model.task == "multiclass":
            return said
        place = [label_text(value) for value in classes].index(label_text(self.positive))
        return said[:, place]

    def decided(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """The decided class per row, as a number: by threshold for two classes, the likeliest of several."""
        from flyball.pipelines.project_explain import effective_threshold

        decided: Any
        if numbers.ndim == 2:
            decided = numbers.argmax(axis=1)
        else:
            threshold = effective_threshold(self.project)
            decided = numbers >= (0.5 if threshold is None else threshold)
        places: NDArray[np.int64] = decided.astype(np.int64)
        return places

    def shown(self, number: Any) -> Any:
        """An answer as an example shows it: a number, or the likeliest of several classes."""
        values = np.atleast_1d(number)
        if values.size == 1:
            return round(float(values[0]), 6)
        assert self.predictor.classes is not None
        place = int(values.argmax())
        return f"{label_text(self.predictor.classes[place])} ({values[place]:.3g})"

    def told(self, error: Exception) -> str:
        """What an error says, without values that the log drops or hashes: a library often quotes what it got."""
        return without_values(str(error)[:500], (self.test, self.train), hidden_columns(self.project.log))

    def example(
        self, row: dict[str, Any], changed: Mapping[str, Sequence[Any]] | None = None, **answers: Any
    ) -> dict[str, Any]:
        """A row that shows a failure: what was changed (before and after), the answers, and the row.

        Columns that the log drops or hashes are not shown: examples are kept with the version.
        """
        hidden = hidden_columns(self.project.log)
        first = dict(list(row.items())[:MOST_CELLS])
        shown: dict[str, Any] = {}
        if changed:
            shown["changed"] = {
                name: [HIDDEN if name in hidden else shown_value(value) for value in pair]
                for name, pair in changed.items()
            }
        return {**shown, **answers, "row": shown_row(first, hidden)}


def put(frame: pl.DataFrame, name: str, value: Any) -> pl.DataFrame:
    """The frame with one value in all rows of a column, of the column's type; None where it does not fit."""
    import polars as pl

    dtype = frame.get_column(name).dtype
    column = pl.Series(name, [value] * frame.height, strict=False)
    if dtype.is_integer() and isinstance(value, float) and not value.is_integer():
        return frame.with_columns(column)
    return frame.with_columns(column.cast(dtype, strict=False))
