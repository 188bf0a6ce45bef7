"""The typed columns of the logged predictions and outcomes, and records turned into rows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from flyball.core.contract import Contract
from flyball.core.digests import canonical_json
from flyball.core.project import Task
from flyball.core.records import OutcomeRecord, PredictionRecord, label_text

if TYPE_CHECKING:
    import polars as pl

PREFIX = "x."
DAY = "received_day"
# What Delta tables don't take in a column's name, and the sign that stands for it.
_ESCAPED = {sign: f"%{ord(sign):02X}" for sign in " ,;{}()\n\t\r=%"}


class LogSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What types a model's log: the task decides the prediction's type, the contract the features'.

    hashed: features that [log] hashes; their columns hold text.
    has_time: whether the model has a time column, so that a record may lack an event time.
    """

    task: Task
    contract: Contract
    hashed: tuple[str, ...] = ()
    has_time: bool = False


# A model whose deployment is not known (any more): nothing is lost, the input is kept as text.
UNTYPED = LogSchema(task="multiclass", contract=Contract())


def feature_columns(schema: LogSchema) -> dict[str, str]:
    """Column name in the table of each feature of the contract.

    Signs that a Delta table refuses are written as %XX; so are capitals and letters beyond ASCII in a name that
    differs from an earlier one in capitals only, which a Delta table takes for the same.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for feature in schema.contract.features:
        column = PREFIX + "".join(_ESCAPED.get(sign, sign) for sign in feature)
        if column.casefold() in taken:
            column = PREFIX + "".join(map(_spelled_out, column.removeprefix(PREFIX)))
        taken.add(column.casefold())
        names[feature] = column
    return names


def _spelled_out(sign: str) -> str:
    return (
        sign if sign.isascii() and not sign.isupper() else "".join(f"%{byte:02X}" for byte in sign.encode())
    )


def feature_of(column: str) -> str:
    """The feature that a table's column holds.

    >>> feature_of("x.age%20band")
    'age band'
    """
    return unquote(column.removeprefix(PREFIX))


def prediction_columns(schema: LogSchema) -> dict[str, pl.DataType]:
    """Names and types of the prediction table's columns, in order."""
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    columns: dict[str, Any] = {
        "id": pl.String,
        "at": moment,
        "received_at": moment,
        DAY: pl.Date,
        "role": pl.String,
        "asked": pl.Int64,
        "answered": pl.Int64,
        "revision": pl.Int64,
        "request_id": pl.String,
        "entity": pl.String,
        "prediction": _answer_type(schema),
        "scores": pl.List(pl.Float64),
        "flags": pl.List(pl.String),
        "error": pl.String,
        "latency_us": pl.Int64,
        "trace": pl.String,
        "input_hash": pl.String,
        "misfit": pl.String,
        "conflict": pl.Boolean,
        "batch": pl.Int64,
    }
    types = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
    for feature, column in feature_columns(schema).items():
        rule = schema.contract.features[feature]
        columns[column] = pl.String if feature in schema.hashed else types.get(rule.type, pl.String)
    return dict(pl.Schema(columns))


def outcome_columns(schema: LogSchema) -> dict[str, pl.DataType]:
    """Names and types of the outcome table's columns, in order."""
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    columns: dict[str, Any] = {
        "id": pl.String,
        "prediction_id": pl.String,
        "entity": pl.String,
        "time": moment,
        "outcome": _answer_type(schema),
        "known_at": moment,
        "received_at": moment,
        DAY: pl.Date,
        "misfit": pl.String,
        "batch": pl.Int64,
    }
    return dict(pl.Schema(columns))


def predictions_frame(
    records: Sequence[PredictionRecord], conflicts: Sequence[bool], schema: LogSchema, batch: int
) -> pl.DataFrame:
    """The rows of these records. A value that does not fit its column is null there and kept in `misfit`."""
    import polars as pl

    columns = prediction_columns(schema)
    misfits: list[dict[str, Any]] = [{} for _ in records]
    answer = _fitting(columns["prediction"], labels=True)
    data: dict[str, list[Any]] = {
        name: [getattr(record, name) for record in records]
        for name in (
            "id",
            "at",
            "received_at",
            "role",
            "asked",
            "answered",
            "revision",
            "request_id",
            "entity",
        )
    }
    data[DAY] = [record.received_at.date() for record in records]
    data["prediction"] = [_fit(record.output, answer, "", misfits[row]) for row, record in enumerate(records)]
    for name in ("scores", "flags", "error", "latency_us", "trace"):
        data[name] = [getattr(record, name) for record in records]
    data["input_hash"] = [input_hash(record) for record in records]
    names = feature_columns(schema)
    for feature, column in names.items():
        fitting = _fitting(columns[column])
        data[column] = [
            _fit(record.input.get(feature), fitting, feature, misfits[row])
            for row, record in enumerate(records)
        ]
    for record, misfit in zip(records, misfits, strict=True):
        if len(record.input) > len(names) or not record.input.keys() <= names.keys():
            misfit.update((name, value) for name, value in record.input.items() if name not in names)
    data["misfit"] = [canonical_json(misfit).decode() if misfit else None for misfit in misfits]
    data["conflict"] = list(conflicts)
    data["batch"] = [batch] * len(records)
    return pl.DataFrame({name: data[name] for name in columns}, schema=columns).sort(
        "at", maintain_order=True
    )


def outcomes_frame(records: Sequence[OutcomeRecord], schema: LogSchema, batch: int) -> pl.DataFrame:
    """The rows of these records. A value that is none for the task is null and kept in `misfit`."""
    import polars as pl

    columns = outcome_columns(schema)
    misfits: list[dict[str, Any]] = [{} for _ in records]
    answer = _fitting(columns["outcome"], labels=True)
    data: dict[str, list[Any]] = {
        "id": [record.id for record in records],
        "prediction_id": [record.prediction_id for record in records],
        "entity": [record.entity for record in records],
        "time": [record.time for record in records],
        "outcome": [_fit(record.value, answer, "", misfits[row]) for row, record in enumerate(records)],
        "known_at": [record.at for record in records],
        "received_at": [record.received_at for record in records],
        DAY: [record.received_at.date() for record in records],
        "misfit": [canonical_json(misfit).decode() if misfit else None for misfit in misfits],
        "batch": [batch] * len(records),
    }
    return pl.DataFrame(data, schema=columns)


def input_hash(record: PredictionRecord) -> str:
    """16 hexadecimal digits that tell two inputs under one id apart (entity included; not for naming content)."""
    return blake2b(canonical_json([record.input, record.entity]), digest_size=8).hexdigest()


def _answer_type(schema: LogSchema) -> Any:
    import polars as pl

    return pl.Float64 if schema.task == "regression" else pl.String


_MISFIT = object()


def _fit(value: Any, fitting: Callable[[Any], Any], name: str, misfit: dict[str, Any]) -> Any:
    if value is None:
        return None
    fitted = fitting(value)
    if fitted is _MISFIT:
        misfit[name] = value
        return None
    return fitted


def _fitting(kind: Any, labels: bool = False) -> Callable[[Any], Any]:
    """What turns a logged value into one for a column of this type, or into `_MISFIT`."""
    import polars as pl

    if kind == pl.Float64:
        return _as_float
    if kind == pl.Int64:
        return _as_int
    if kind == pl.Boolean:
        return _as_bool
    return _as_label if labels else _as_text


def _as_float(value: Any) -> Any:
    if isinstance(value, float):
        return value
    # Above 2**53 a float would be another number.
    return float(value) if type(value) is int and abs(value) <= 2**53 else _MISFIT


def _as_int(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else _MISFIT


def _as_bool(value: Any) -> Any:
    return value if isinstance(value, bool) else _MISFIT


def _as_text(value: Any) -> Any:
    return value if isinstance(value, str) else _MISFIT


def _as_label(value: Any) -> Any:
    return label_text(value) if isinstance(value, str | bool | int | float) else _MISFIT
