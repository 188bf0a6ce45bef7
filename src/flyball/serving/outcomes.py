"""`POST /v1/models/{model}/outcomes`: what really happened, accepted whether or not its prediction is known here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from flyball.core.digests import canonical_json
from flyball.core.errors import FlyballError
from flyball.core.ids import derived_id, is_id
from flyball.core.records import RECORD_FORMAT, LogRecord, OutcomeRecord, label_text
from flyball.serving.asgi import Request, Response
from flyball.serving.journal import Journal
from flyball.serving.protocol import (
    LONGEST_ENTITY,
    FieldError,
    OutcomeBody,
    Rejected,
    decode_outcomes,
    encode,
    invalid,
)
from flyball.serving.reading import parse_at
from flyball.serving.served import Served, ServedModels
from flyball.serving.sizes import MORE_FIELDS, check_sizes


class Outcomes:
    """The endpoint. All outcomes of a request are accepted, or none and the answer says which are wrong."""

    def __init__(self, models: ServedModels, journal: Journal) -> None:
        self._models = models
        self._journal = journal

    async def handle(self, request: Request) -> Response:
        """Take outcomes. Raises Rejected."""
        served = self._models.find_served(request.parameters["model"])
        data = await request.body(served.body_limit_bytes)
        await check_sizes(data, "outcomes", served.table.serve.max_rows, MORE_FIELDS)
        given = decode_outcomes(data).outcomes
        if not given:
            raise invalid("outcomes", "empty", "none", "at least one outcome")
        if len(given) > served.table.serve.max_rows:
            words = (
                f"{len(given)} outcomes in one request; at most {served.table.serve.max_rows}: send several"
            )
            raise Rejected(413, "too_many_rows", words)
        errors = [error for row, outcome in enumerate(given) for error in _check(served, outcome, row)]
        if errors:
            raise Rejected(
                422, "invalid_outcomes", f"{len({e.row for e in errors})} outcome(s) can't be used", errors
            )
        now = datetime.now(UTC)
        records: list[LogRecord] = [_record(served, outcome, row, now) for row, outcome in enumerate(given)]
        await self._write(served, records)
        served.outcomes.add(len(records))
        return Response(200, encode({"model": served.model, "accepted": len(records)}))

    async def _write(self, served: Served, records: list[LogRecord]) -> None:
        """An outcome that is not written down is lost, so without room it is refused, whatever `when_full` says."""
        try:
            synced = self._journal.write([(served.policy, records)])
            if synced is not None:
                await asyncio.shield(synced)
        except (FlyballError, OSError) as error:
            self._journal.drop(served.policy, len(records), error)
            raise Rejected(
                503, "log_full", f"outcomes can't be kept now: {error}", retry_after_seconds=5
            ) from error


def _check(served: Served, outcome: OutcomeBody, row: int) -> list[FieldError]:
    """What is wrong with one outcome: its key, its value."""
    found = []
    by_id, by_time = outcome.prediction_id is not None, outcome.entity is not None or outcome.time is not None
    if by_id == by_time:
        got = "both" if by_id else "neither"
        found.append(FieldError(row, "prediction_id", "key", got, "prediction_id, or entity and time"))
    elif outcome.prediction_id is not None and not is_id(outcome.prediction_id, "prd"):
        got = outcome.prediction_id[:80]
        found.append(
            FieldError(row, "prediction_id", "type", got, "an id out of prediction_ids of an answer")
        )
    elif by_time and (outcome.entity is None or outcome.time is None):
        got = "entity alone" if outcome.time is None else "time alone"
        found.append(FieldError(row, "entity", "key", got, "both entity and time"))
    if outcome.entity is not None and len(str(outcome.entity)) > LONGEST_ENTITY:
        expected = f"at most {LONGEST_ENTITY} characters"
        found.append(FieldError(row, "entity", "length", f"{len(str(outcome.entity))} characters", expected))
    return found + _check_value(served, outcome.value, row)


def _check_value(served: Served, value: Any, row: int) -> list[FieldError]:
    got = str(value)[:80]
    if value is None:
        return [FieldError(row, "value", "null", "null", "what really happened")]
    if served.table.task == "regression":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return [] if is_number else [FieldError(row, "value", "type", got, "a number")]
    if isinstance(value, str) and len(value) > LONGEST_ENTITY:
        return [FieldError(row, "value", "length", f"{len(value)} characters", f"at most {LONGEST_ENTITY}")]
    classes = served.champion.facts.classes if served.champion is not None else None
    # A class nobody has seen can be true where there are many; of two, it is a mistake of the sender.
    if served.table.task == "binary" and classes is not None:
        texts = [label_text(known) for known in classes]
        if label_text(value) not in texts:
            return [FieldError(row, "value", "value", got, f"one of {', '.join(texts)}")]
    return []


def _record(served: Served, outcome: OutcomeBody, row: int, now: datetime) -> OutcomeRecord:
    at = parse_at(outcome.at, row) if outcome.at is not None else now
    time = parse_at(outcome.time, row) if outcome.time is not None else None
    entity = str(outcome.entity) if outcome.entity is not None else None
    key = outcome.prediction_id or f"{entity}\x1e{time.isoformat() if time else ''}"
    # The same outcome sent again is the same record; without `at`, what makes it the same is key and value.
    said_at = at.isoformat() if outcome.at is not None else ""
    return OutcomeRecord(
        format=RECORD_FORMAT,
        id=derived_id("out", served.model, key, canonical_json(outcome.value).decode(), said_at),
        model=served.model,
        value=outcome.value,
        at=at,
        received_at=now,
        prediction_id=outcome.prediction_id,
        entity=entity,
        time=time,
    )
