"""What a request says about its rows: whom they are about, and when they happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flyball.core.clock import parse_moment
from flyball.serving.asgi import Request
from flyball.serving.protocol import PredictBody, invalid, per_row
from flyball.serving.served import Served


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
    served: Served,
    body: PredictBody,
    rows: list[dict[str, Any]],
    received_at: datetime,
    flags: list[list[str]],
) -> list[datetime]:
    """Event times: `at`, else the row's own time column, else now. A column that is no time is flagged."""
    count = len(rows)
    if isinstance(body.at, str):
        return [parse_at(body.at, None)] * count
    if body.at is not None:
        if len(body.at) != count:
            raise invalid("at", "length", f"{len(body.at)} values", f"one, or one per row ({count})")
        return [parse_at(text, row) if text else received_at for row, text in enumerate(body.at)]
    column = served.table.time
    if column is None:
        return [received_at] * count
    moments = []
    for index, row in enumerate(rows):
        value, moment = row.get(column), received_at
        if value is not None:
            try:
                moment = parse_moment(value) if isinstance(value, str) else moment
            except (ValueError, OverflowError):
                flags[index].append(f"type:{column}")
        moments.append(moment)
    return moments


def parse_at(text: str, row: int | None) -> datetime:
    try:
        return parse_moment(text)
    except (ValueError, OverflowError) as error:
        raise invalid(
            "at", "type", text[:80], "an ISO 8601 time such as 2026-03-01T12:00:00Z", row
        ) from error
