"""The golden batch: real rows with the answers that a model gave when it was packaged, asked again before it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.clock import isoformat
from flyball.core.errors import BadBundle, CorruptBundle
from flyball.core.records import label_text
from flyball.registry.bundle import read_file
from flyball.registry.formats.answers import Answers, Predictor
from flyball.registry.manifest import BundleManifest

if TYPE_CHECKING:
    import polars as pl

GOLDEN_FORMAT = 1
MOST_ROWS = 64
# Other processors add up in other orders; nothing else may differ.
_NATIVE_TOLERANCE = {"lightgbm": 1e-9, "skops": 1e-7, "xgboost": 1e-6, "custom": 1e-6}


class GoldenBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as requests carry them, column by column in `columns`' order, and the answers that go with them."""

    format: int = GOLDEN_FORMAT
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    predictions: tuple[Any, ...]
    scores: tuple[tuple[float, ...], ...] | None = None

    def as_rows(self) -> list[dict[str, Any]]:
        """The rows as requests carry them."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def choose_rows(
    frame: pl.DataFrame, names: Sequence[str], splits: Mapping[str, Sequence[float]], count: int = MOST_ROWS
) -> list[dict[str, Any]]:
    """At most `count` rows: about half as they are, spread over the frame; half with one value moved next to a split.

    splits: split values by feature, where they are known. A moved value is one that the column really has: the nearest
    on each side of the split. Without splits, the two nearest neighbours of the column stand for one.
    """
    if frame.height == 0:
        return []
    rows = [{name: jsonable(value) for name, value in row.items()} for row in frame.select(names).to_dicts()]
    moves = [move for name in names for move in _moves(frame, name, splits.get(name))]
    moves.sort(key=lambda move: move[0])
    # The narrowest gaps first, and from there on one of each feature after the other.
    moved_count = min(len(moves), count // 2)
    real_count = min(len(rows), count - moved_count)
    chosen = [rows[place * len(rows) // real_count] for place in range(real_count)]
    for place, (_, name, value) in enumerate(moves[:moved_count]):
        chosen.append({**rows[(place * 7) % len(rows)], name: value})
    return chosen


def golden_batch(rows: Sequence[dict[str, Any]], names: Sequence[str], answers: Answers) -> GoldenBatch:
    """A golden batch of these rows and answers."""
    return GoldenBatch(
        columns=tuple(names),
        rows=tuple(tuple(row.get(name) for name in names) for row in rows),
        predictions=tuple(answers.predictions),
        scores=None if answers.scores is None else tuple(tuple(row) for row in answers.scores),
    )


def read_golden(folder: Path, manifest: BundleManifest) -> GoldenBatch | None:
    """The golden batch of a bundle, None where it has none. Raises BadBundle, CorruptBundle."""
    if manifest.golden is None:
        return None
    try:
        return msgspec.json.decode(read_file(folder, manifest, manifest.golden), type=GoldenBatch)
    except msgspec.DecodeError as error:
        raise BadBundle(f"{manifest.golden} is no golden batch: {error}") from error


def check_golden(predictor: Predictor, folder: Path, manifest: BundleManifest) -> None:
    """Raises CorruptBundle if a loaded model answers its golden batch other than when it was packaged."""
    batch = read_golden(folder, manifest)
    if batch is None or not batch.rows:
        return
    found = predictor.predict_rows(batch.as_rows())
    difference = _difference(batch, found, _tolerance(predictor, manifest, batch))
    if difference is not None:
        raise CorruptBundle(
            f"this version of {manifest.model} answers otherwise than when it was packaged ({difference}), and is not "
            "served; compare the libraries here with those it was made with "
            f"({', '.join(f'{name} {version}' for name, version in manifest.libraries.items())})"
        )


def jsonable(value: Any) -> Any:
    """A value of a frame as a request carries it: moments as text, NaN as null."""
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    return value


def _moves(
    frame: pl.DataFrame, name: str, splits: Sequence[float] | None
) -> list[tuple[tuple[int, float], str, Any]]:
    """Values next to splits of one feature, each with its rank among those of the feature and the gap it lies at."""
    import numpy as np

    column = frame.get_column(name)
    if not column.dtype.is_numeric():
        return []
    known = column.drop_nulls().unique().sort()
    if column.dtype.is_float():
        known = known.filter(known.is_finite())
    values = known.to_numpy().astype(np.float64)
    if len(values) < 2:
        return []
    if splits is not None:
        places = np.unique(np.searchsorted(values, np.asarray(splits), side="left"))
        places = places[(places > 0) & (places < len(values))]
    else:
        places = np.arange(1, len(values))
    gaps = (values[places] - values[places - 1]) / np.maximum(np.abs(values[places]), 1.0)
    native = known.to_list()
    found = []
    for rank, place in enumerate(places[np.argsort(gaps, kind="stable")][: MOST_ROWS // 2].tolist()):
        gap = float(values[place] - values[place - 1])
        found += [((rank, gap), name, native[place - 1]), ((rank, gap), name, native[place])]
    return found


def _tolerance(predictor: Predictor, manifest: BundleManifest, batch: GoldenBatch) -> float:
    """What answers may differ by, in their own unit."""
    import numpy as np

    derived = next((form for form in manifest.derived if form.kind == predictor.form), None)
    if derived is not None:
        return derived.tolerance
    numbers = (
        [value for value in batch.predictions if isinstance(value, float)] if batch.scores is None else []
    )
    return _NATIVE_TOLERANCE[manifest.predictor.kind] * max(1.0, float(np.abs(numbers).max(initial=0.0)))


def _difference(batch: GoldenBatch, found: Answers, tolerance: float) -> str | None:
    import numpy as np

    if len(found.predictions) != len(batch.predictions):
        return f"{len(found.predictions)} answers for {len(batch.predictions)} rows"
    if batch.scores is None and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in batch.predictions
    ):
        wanted = np.asarray(batch.predictions, dtype=np.float64)[:, None]
        given = np.asarray(found.predictions, dtype=np.float64)[:, None]
    else:
        for row, (ours, theirs) in enumerate(zip(batch.predictions, found.predictions, strict=True)):
            if label_text(ours) != label_text(theirs):
                return f"row {row}: {theirs!r} in place of {ours!r}"
        if batch.scores is None or found.scores is None:
            return None
        wanted, given = np.asarray(batch.scores), np.asarray(found.scores)
    if wanted.shape != given.shape:
        return f"scores of shape {given.shape} in place of {wanted.shape}"
    worst = np.abs(wanted - given).max(axis=1)
    if not np.isfinite(given).all() or (worst > tolerance).any():
        row = int(np.nan_to_num(worst, nan=np.inf).argmax())
        return f"row {row}: {given[row].tolist()} in place of {wanted[row].tolist()}"
    return None
