"""What a client may send and what it gets back: bodies decoded with limits, answers and refusals encoded."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

MAX_DEPTH = 64
MAX_ERRORS = 100
# As many rows at least are told what is wrong with them, so that a client can send the others again.
EXPLAINED_ROWS = 1000
LONGEST_EXPLAINED_BYTES = 256 * 1024
LONGEST_ID = 200
LONGEST_ENTITY = 500

Scalar = None | bool | int | float | str
# Possessive, and an unfinished string is one too: nothing is looked at twice, whatever is sent.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class FieldError(msgspec.Struct, frozen=True, omit_defaults=False):
    """One thing that is wrong with a body: `row` counts from 0, None where it is about the whole body."""

    row: int | None
    feature: str | None
    problem: str
    got: str
    expected: str


class Rejected(Exception):
    """A request that is not answered: HTTP status, stable code, message, and what is wrong where."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        errors: list[FieldError] | None = None,
        retry_after_seconds: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors or []
        self.retry_after_seconds = retry_after_seconds
        self.close = close

    def body(self) -> bytes:
        """The refusal as JSON; `errors` is there for 422 only."""
        content: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.status == 422:
            content["errors"] = _most_telling(self.errors)
        return encode(content)


def _most_telling(errors: list[FieldError]) -> list[FieldError]:
    """The first error of each row, for as many rows as are explained, and more while they are few."""
    spare = MAX_ERRORS - len({error.row for error in errors})
    told: list[FieldError] = []
    rows: set[int | None] = set()
    for error in errors:
        if error.row in rows:
            spare -= 1
            if spare < 0:
                continue
        elif len(rows) == EXPLAINED_ROWS:
            break
        rows.add(error.row)
        told.append(error)
    return told


def not_ready(model: str, because: str) -> Rejected:
    """The refusal of a request for a model that has nothing to answer with for now."""
    return Rejected(503, "no_version_ready", f"{model} {because}; try again", retry_after_seconds=1)


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `predict`: `rows`, or `columns` with `data`; the rest is optional."""

    rows: list[dict[str, Scalar]] | None = None
    columns: list[str] | None = None
    data: list[list[Scalar]] | None = None
    ids: list[str | int] | None = None
    entity: str | int | list[str | int | None] | None = None
    at: str | list[str | None] | None = None
    explain: bool | None = None


class OutcomeBody(msgspec.Struct, forbid_unknown_fields=True):
    """One outcome: keyed by `prediction_id`, or by `entity` and `time`."""

    value: Scalar
    prediction_id: str | None = None
    entity: str | int | None = None
    time: str | None = None
    at: str | None = None


class OutcomesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `outcomes`."""

    outcomes: list[OutcomeBody]


class PredictAnswer(msgspec.Struct, omit_defaults=True):
    """Answer of `predict`. `versions` and `roles` are there when rows of one request went to different versions."""

    model: str
    version: int
    role: str
    predictions: list[Any]
    prediction_ids: list[str]
    flags: list[list[str]]
    scores: list[list[float]] | None = None
    versions: list[int] | None = None
    roles: list[str] | None = None


encode = msgspec.json.Encoder().encode
_decode_predict = msgspec.json.Decoder(PredictBody).decode
_decode_outcomes = msgspec.json.Decoder(OutcomesBody).decode
_decode_any = msgspec.json.Decoder().decode


def decode_predict(body: bytes) -> PredictBody:
    """The body of `predict`. Raises Rejected: 400 for what is no JSON, 422 for what is no request."""
    try:
        return _decode_predict(body)
    except msgspec.ValidationError as error:
        raise _explain(body, error, "rows") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error) from error


def decode_outcomes(body: bytes) -> OutcomesBody:
    """The body of `outcomes`. Raises Rejected."""
    try:
        return _decode_outcomes(body)
    except msgspec.ValidationError as error:
        raise _explain(body, error, "outcomes") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error) from error


def list_rows(body: PredictBody, max_rows: int) -> list[dict[str, Scalar]]:
    """The rows of a request as mappings. Raises Rejected: 422, or 413 above `max_rows`."""
    if body.rows is not None:
        if body.columns is not None or body.data is not None:
            raise invalid("rows", "both", "rows and columns", "either rows, or columns and data")
        rows = body.rows
    elif body.columns is not None and body.data is not None:
        rows = _rows_of_table(body.columns, body.data, max_rows)
    else:
        raise invalid("rows", "missing", "neither", "rows, or columns and data")
    if not rows:
        raise invalid("rows", "empty", "no row", "at least one row")
    if len(rows) > max_rows:
        raise Rejected(
            413, "too_many_rows", f"{len(rows)} rows in one request; at most {max_rows}: send several"
        )
    return rows


def check_ids(ids: list[str | int], row_count: int) -> list[str]:
    """A client's own ids, one per row. Raises Rejected when they are too few, too long or repeated."""
    if len(ids) != row_count:
        raise invalid("ids", "length", f"{len(ids)} ids", f"one per row ({row_count})")
    texts = [str(value) for value in ids]
    seen: set[str] = set()
    for row, text in enumerate(texts):
        if not text or len(text) > LONGEST_ID:
            raise invalid("ids", "length", f"{len(text)} characters", f"1 to {LONGEST_ID} characters", row)
        if text in seen:
            raise invalid("ids", "repeated", text[:80], "a different id for each row", row)
        seen.add(text)
    return texts


def per_row(name: str, value: Any, row_count: int) -> list[str | None]:
    """One text per row out of a value for all or a list of one per row. Raises Rejected."""
    if not isinstance(value, list):
        return [None if value is None else _short(name, str(value), None)] * row_count
    if len(value) != row_count:
        raise invalid(name, "length", f"{len(value)} values", f"one, or one per row ({row_count})")
    return [None if item is None else _short(name, str(item), row) for row, item in enumerate(value)]


def invalid(field: str, problem: str, got: str, expected: str, row: int | None = None) -> Rejected:
    """A refusal (422) about one field."""
    error = FieldError(row, field, problem, got, expected)
    return Rejected(422, "invalid_request", f"{field}: expected {expected}, got {got}", [error])


def rejected_rows(errors: list[FieldError]) -> Rejected:
    """A refusal (422) of rows that break the contract."""
    count = len({error.row for error in errors})
    return Rejected(422, "contract_violated", f"{count} row(s) break the model's contract", errors)


def _short(name: str, text: str, row: int | None) -> str:
    if len(text) > LONGEST_ENTITY:
        raise invalid(name, "length", f"{len(text)} characters", f"at most {LONGEST_ENTITY} characters", row)
    return text


def _rows_of_table(columns: list[str], data: list[list[Scalar]], max_rows: int) -> list[dict[str, Scalar]]:
    if len(set(columns)) != len(columns):
        repeated = next(name for name, count in Counter(columns).items() if count > 1)
        raise invalid("columns", "repeated", repeated[:80], "each column once")
    width = len(columns)
    for row, values in enumerate(data[: max_rows + 1]):
        if len(values) != width:
            raise invalid("data", "length", f"{len(values)} values", f"{width}, one per column", row)
    return [dict(zip(columns, values, strict=True)) for values in data]


def _no_json(error: Exception) -> Rejected:
    words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Rejected(400, "not_json", f"the body is not JSON: {words}")


def _explain(body: bytes, error: msgspec.ValidationError, field: str) -> Rejected:
    """The refusal of JSON that is no request, with every row and field at fault where that can be told."""
    if "out of range" in str(error):
        return Rejected(400, "not_json", f"the body has a number outside the range of a float: {error}")
    if len(body) > LONGEST_EXPLAINED_BYTES:
        return invalid(field, "type", str(error), "the documented request")
    if _depth(body) > MAX_DEPTH:
        return Rejected(400, "not_json", f"the body is nested deeper than {MAX_DEPTH}")
    try:
        content = _decode_any(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        return _no_json(broken)
    errors = _find_nested(content, field)
    if errors:
        return Rejected(422, "invalid_request", "values must be text, numbers, booleans or null", errors)
    return invalid(field, "type", str(error), "the documented request")


def _find_nested(content: Any, field: str) -> list[FieldError]:
    rows = content.get(field) if isinstance(content, dict) else None
    found: list[FieldError] = []
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if not isinstance(row, dict):
            found.append(FieldError(index, None, "type", type(row).__name__, "an object"))
            continue
        for name, value in row.items():
            if isinstance(value, dict | list):
                kind = "object" if isinstance(value, dict) else "array"
                found.append(FieldError(index, name[:80], "type", kind, "text, number, boolean or null"))
        if len(found) >= MAX_ERRORS:
            break
    return found


def _depth(body: bytes) -> int:
    """How deep arrays and objects are nested; needs no recursion."""
    deepest = depth = 0
    for byte in _STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
