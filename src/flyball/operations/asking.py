"""Talking to a model server: predictions and outcomes from the command line. Needs no home and no database."""

from __future__ import annotations

import fcntl
import math
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.home_socket import ask_socket
from flyball.core.clock import isoformat
from flyball.core.errors import BadInput, NotFound, Unavailable
from flyball.data.files import is_text_name
from flyball.data.sources import describe_source
from flyball.operations.server_lock import server_holder

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
BATCH = 500
TIMEOUT_SECONDS = 60.0
# A server that starts loads its models first, and says when to come back.
START_SECONDS = 15.0
OUTCOME_COLUMNS = ("value", "prediction_id", "entity", "time", "at")


def find_server(home: Path) -> str:
    """Address of the model server that runs on a home; one that is starting is waited for. Raises NotFound."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = ask_socket(home / "serve.sock", {"command": "status"})
        if status is not None:
            return f"http://{status['host']}:{status['port']}"
        starting = server_holder(home) is not None or _is_held(home / "up.lock")
        if not starting or time.monotonic() > deadline:
            raise NotFound("no model server runs on this home; start `flyball up`, or name one with --url")
        time.sleep(0.2)


def predict(url: str, model: str, rows: str) -> dict[str, Any]:
    """The model server's answer for `rows`: JSON text, a file of rows, or `-` for standard input.

    Cells of CSV and TSV are read as what the model takes.
    """
    address = url.rstrip("/")
    types = _find_types(address, model) if is_text_name(rows) else {}
    return post(f"{address}/v1/models/{model}/predict", {"rows": read_rows(rows, types)})


def _find_types(address: str, model: str) -> dict[str, str]:
    """What a model takes for each feature; nothing where a server can't tell, whose answer will say why."""
    import httpx2 as httpx

    try:
        told = msgspec.json.decode(httpx.get(f"{address}/v2/models/{model}", timeout=TIMEOUT_SECONDS).content)
        return {str(item["name"]): str(item["datatype"]) for item in told["inputs"]}
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        msgspec.DecodeError,
        ValueError,
        RecursionError,
        KeyError,
        TypeError,
    ):
        return {}


def find_classes(url: str, model: str, answer: dict[str, Any]) -> list[Any] | None:
    """The classes that an answer's scores are of, in their order; None without scores or when the server can't tell."""
    import httpx2 as httpx

    if not answer.get("scores"):
        return None
    found = []
    for number in dict.fromkeys(answer.get("versions") or [answer["version"]]):
        try:
            told = httpx.get(
                f"{url.rstrip('/')}/v2/models/{model}/versions/{number}", timeout=TIMEOUT_SECONDS
            )
            found.append(msgspec.json.decode(told.content)["classes"])
        except (httpx.HTTPError, msgspec.DecodeError, KeyError, TypeError):
            return None  # an older server, or a version that was replaced since
    return found[0] if all(classes == found[0] for classes in found) else None


def add_outcomes(url: str, model: str, source: str) -> dict[str, Any]:
    """Send the outcomes of a table in batches; how many were accepted. A repeat is safe.

    Raises BadInput with nothing sent for wrong columns and rows without value or key.
    """
    rows = _as_outcomes(read_rows(source), source)
    accepted = 0
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        try:
            post(f"{url.rstrip('/')}/v1/models/{model}/outcomes", {"outcomes": part}, first_row=start)
        except (BadInput, Unavailable) as error:
            if accepted:
                error.message += f". The first {accepted} outcomes were accepted; sending them again is safe"
                error.args = (error.message,)
            raise
        accepted += len(part)
    return {"model": model, "accepted": accepted}


def post(url: str, body: Any, *, first_row: int = 0) -> dict[str, Any]:
    """The decoded answer to a POST; a server that is busy or starting is asked again for some seconds.

    first_row: the number that the body's first row has for people, less one. Raises BadInput for what the server
    refuses, Unavailable when it can't answer.
    """
    import httpx2 as httpx

    content, deadline = msgspec.json.encode(body), time.monotonic() + START_SECONDS
    shown = describe_source(url)
    while True:
        try:
            answer = httpx.post(
                url, content=content, headers={"content-type": "application/json"}, timeout=TIMEOUT_SECONDS
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"{shown} does not answer ({error}); is `flyball up` running?", url=shown
            ) from error
        pause = read_pause(answer.headers)
        if answer.status_code not in (429, 503) or pause is None or time.monotonic() > deadline:
            break
        time.sleep(min(pause, START_SECONDS))
    if answer.status_code == 200:
        return _decode_answer(shown, answer.content)
    text = _problem(answer.content, first_row)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unavailable(
            f"the model server answered {answer.status_code}: {text}", status=answer.status_code
        )
    if answer.status_code == 404:
        raise NotFound(text, status=404)
    raise BadInput(f"the model server refused ({answer.status_code}): {text}", status=answer.status_code)


def read_pause(headers: Mapping[str, str]) -> int | None:
    """The whole seconds after which a server wants to be asked again, None where it names none.

    >>> read_pause({"retry-after": "2"}), read_pause({"retry-after": "²"}), read_pause({})
    (2, None, None)
    """
    told = headers.get("retry-after", "")
    return int(told[:9]) if told.isascii() and told.isdigit() else None


def read_rows(source: str, types: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Rows as plain JSON values. types: as `with_numbers`, for CSV and TSV. Raises BadInput that names the source."""
    if source == "-":
        return _rows_of_json(sys.stdin.buffer.read(), "standard input")
    if source.lstrip()[:1] in ("{", "["):
        return _rows_of_json(source.encode(), "the argument")
    path = Path(source)
    if not path.is_file():
        raise BadInput(
            f"{source[:200]!r} is neither a file that exists nor JSON, which begins with {{ or [",
            rows=source[:200],
        )
    if path.name.endswith((*TABLES, ".csv.gz")):
        return _rows_of_table(path, types or {})
    return _rows_of_json(path.read_bytes(), source)


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _decode_answer(url: str, content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"{url} answered no JSON: this is no model server of Flyball", url=url) from error


def _problem(content: bytes, first_row: int) -> str:
    """What a refusal says: its message, and the first errors with row (counted from 1) and field."""
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content[:200].decode(errors="replace")
    text = str(decoded.get("message") or decoded.get("detail") or decoded)[:400]
    errors = [item for item in decoded.get("errors") or [] if isinstance(item, dict)]
    for item in errors[:5]:
        row = item.get("row")
        joint = ", " if item.get("feature") else ": "
        where = "" if row is None else f"row {first_row + row + 1}{joint}"
        text += f"\n  {where}{describe_error(item)}"
    return text + (f"\n  and {len(errors) - 5} more" if len(errors) > 5 else "")


def describe_error(error: dict[str, Any]) -> str:
    """One of a refusal's errors, without its row."""
    where = f"{error['feature']}: " if error.get("feature") else ""
    return f"{where}{error.get('problem')}: got {error.get('got')}, expected {error.get('expected')}"


def _rows_of_json(data: bytes, where: str) -> list[dict[str, Any]]:
    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
    rows = decoded if isinstance(decoded, list) else [decoded]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{where}: expected one JSON object, or a list of objects, one per row")
    return rows


def _rows_of_table(path: Path, types: Mapping[str, str]) -> list[dict[str, Any]]:
    from flyball.data.sources import read_source
    from flyball.operations.cells import texts_of, with_numbers

    frame = read_source(str(path.resolve()), folder=path.parent)
    if texts := texts_of(frame.schema, types):
        frame = read_source(str(path.resolve()), folder=path.parent, texts=texts)
    frame = with_numbers(frame, types)
    rows = [{name: plain(value) for name, value in row.items()} for row in frame.to_dicts()]
    for number, row in enumerate(rows, start=1):
        for name, value in row.items():
            # NaN is how tables write a missing value; an infinity is a value, and JSON has none.
            if isinstance(value, float) and math.isinf(value):
                raise BadInput(
                    f"{path}, row {number}, {name}: {value} can't be sent", row=number, column=name
                )
    return rows


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: moments as text, those without time zone in UTC."""
    if isinstance(value, datetime):
        return isoformat(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
    return value.isoformat() if hasattr(value, "isoformat") else value


def _as_outcomes(rows: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """The rows as outcomes, empty cells left out. Raises BadInput for the first thing that is wrong."""
    where = "standard input" if source == "-" else source[:200]
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if name not in OUTCOME_COLUMNS:
            near = get_close_matches(name, OUTCOME_COLUMNS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise BadInput(
                f"{where} has a column {name!r}, which outcomes do not have{hint}. They have value and "
                "prediction_id (or entity and time), and at where the moment of knowing is recorded",
                column=name,
            )
    outcomes = [{name: value for name, value in row.items() if value is not None} for row in rows]
    for number, outcome in enumerate(outcomes, start=1):
        if "value" not in outcome:
            raise BadInput(f"{where}, row {number}: no value; leave out rows whose truth is unknown")
        if ("prediction_id" in outcome) == ("entity" in outcome and "time" in outcome):
            raise BadInput(f"{where}, row {number}: it needs prediction_id, or entity and time, and not both")
    return outcomes
