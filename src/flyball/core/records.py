"""What a model server writes down: predictions and outcomes, version 1 of both formats (docs/decisions/0001)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

RECORD_FORMAT = 1
Role = Literal["champion", "candidate", "shadow"]


class PredictionRecord(msgspec.Struct, kw_only=True, omit_defaults=True, tag="p", tag_field="kind"):
    """One answer given for one row, or the failure to give one.

    `(id, role)` is unique: a shadow's answer to the same row carries the same id with the role `shadow`.
    `at` is the event time, `received_at` the wall time. `asked` is the version routing chose, `answered` the one
    that answered (the champion, when a candidate failed). `request_id` is the client's, else the id of the request's
    first row: rows without an entity were routed by it. `output` is the prediction: a number, or a class;
    `scores` one probability per class in the order of the bundle's classes. `latency_us` in microseconds.
    """

    format: int
    id: str
    model: str
    at: datetime
    received_at: datetime
    role: Role
    asked: int
    answered: int | None = None
    revision: int = 0
    request_id: str | None = None
    entity: str | None = None
    input: dict[str, Any] = {}
    output: Any = None
    scores: list[float] | None = None
    flags: list[str] = []
    error: str | None = None
    latency_us: int = 0
    trace: str | None = None


class OutcomeRecord(msgspec.Struct, kw_only=True, omit_defaults=True, tag="o", tag_field="kind"):
    """What really happened, keyed by prediction id, or by entity and the event time of the prediction.

    `at` is when the truth became known (model time), `received_at` the wall time. Later records replace earlier
    ones of the same key.
    """

    format: int
    id: str
    model: str
    value: Any
    at: datetime
    received_at: datetime
    prediction_id: str | None = None
    entity: str | None = None
    time: datetime | None = None


LogRecord = PredictionRecord | OutcomeRecord


def label_text(value: Any) -> str:
    """The one written form of a class, so that `1`, `1.0` and `"1"` name the same class in logs and metrics.

    >>> label_text(True), label_text(2.0), label_text("yes")
    ('true', '2', 'yes')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
