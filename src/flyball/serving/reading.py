"""What a request says about its rows: whom they are about, and when they happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flyball.core.clock import EARLIEST, parse_moment
from flyball.core.contract import describe_value
from flyball.serving.asgi import Request
from flyball.serving.protocol import FieldError, PredictBody, invalid, per_row
from flyball.serving.served import Served

_A_TIME = "an ISO 8601 time from 1970 on, such as 2026-03-01T12:00:00Z"


def list_entities(
    served: Served, request: Request, body: PredictBody, rows: list[dict[str, Any]]
) -> list[str | None]:
    """Whom each row is about: the header for all, else the body's `entity`, else the row's own entity column."""
    header = request.headers.get(b"x-flyball-entity")
    if header is not None:
        return per_row("X-Flyball-Entity", header.decode("latin-1"), len(rows))
    if body.entity is not None:
        return per_row("entity", body.entity, len(rows))
    column = served.table.entity
    if column is None:
        return [None] * len(rows)
    return per_row(column, [row.get(column) for row in rows], len(rows))


def list_moments(
    served: Served, body: PredictBody, rows: list[dict[str, Any]], received_at: datetime
) -> tuple[list[datetime], dict[int, FieldError]]:
    """Event times: `at`, else the row's own time column, else now; and what is wrong with the time of which row.

    A row of a model with a time column that says no time gets the very moment it was received at, which tells the
    fold that it is no event time; that is how live traffic may well be sent, so it is nothing wrong. Raises Rejected
    for an `at` that is none.
    """
    count = len(rows)
    if isinstance(body.at, str):
        return [parse_at(body.at, None)] * count, {}
    said = body.at
    if said is not None and len(said) != count:
        raise invalid("at", "length", f"{len(said)} values", f"one, or one per row ({count})")
    column = served.table.time
    if said is None and column is None:
        return [received_at] * count, {}
    moments, wrong = [received_at] * count, {}
    for index, row in enumerate(rows):
        text = said[index] if said is not None else None
        if text:
            moments[index] = parse_at(text, index)
        elif column is not None and row.get(column) is not None:
            found = _own_moment(row, column, index)
            if isinstance(found, datetime):
                moments[index] = found
            else:
                wrong[index] = found
    return moments, wrong


def _own_moment(row: dict[str, Any], column: str, index: int) -> datetime | FieldError:
    value = row[column]
    try:
        return _parse_event_time(value)
    except (ValueError, OverflowError):
        return FieldError(index, column, "type", describe_value(value), f"{_A_TIME}, here or in `at`")


def _parse_event_time(value: Any) -> datetime:
    moment = parse_moment(value) if isinstance(value, str) else None
    if moment is None or moment < EARLIEST:
        raise ValueError("no event time")
    return moment


def parse_at(text: str, row: int | None) -> datetime:
    """The moment that a client wrote. Raises Rejected."""
    try:
        return _parse_event_time(text)
    except (ValueError, OverflowError) as error:
        raise invalid("at", "type", text[:80], _A_TIME, row) from error
