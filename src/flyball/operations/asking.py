"""Talking to a model server: predictions and outcomes from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import BadInput, Unavailable

TABLES = (".csv", ".parquet")
BATCH = 500


def predict(url: str, model: str, rows: str) -> dict[str, Any]:
    """The model server's answer for `rows`: JSON text, a .json, .csv or .parquet file, or `-` for standard input."""
    return post(f"{url}/v1/models/{model}/predict", {"rows": _read_rows(rows)})


def add_outcomes(url: str, model: str, file: Path) -> dict[str, Any]:
    """Send the outcomes of a table in batches; how many were accepted. A repeat is safe."""
    rows = _read_rows(str(file))
    accepted = 0
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        post(f"{url}/v1/models/{model}/outcomes", {"outcomes": part})
        accepted += len(part)
    return {"model": model, "accepted": accepted}


def post(url: str, body: Any) -> dict[str, Any]:
    """The decoded answer to a POST. Raises BadInput for what the server refuses, Unavailable when it can't answer."""
    import httpx2 as httpx

    try:
        answer = httpx.post(
            url, content=msgspec.json.encode(body), headers={"content-type": "application/json"}, timeout=60
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} does not answer ({error}); is `flyball up` running?", url=url) from error
    if answer.status_code == 200:
        decoded: dict[str, Any] = msgspec.json.decode(answer.content)
        return decoded
    text = _problem(answer.content)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unavailable(
            f"the model server answered {answer.status_code}: {text}", status=answer.status_code
        )
    raise BadInput(f"the model server refused ({answer.status_code}): {text}", status=answer.status_code)


def _problem(content: bytes) -> str:
    try:
        decoded = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content[:200].decode(errors="replace")
    if isinstance(decoded, dict):
        for item in decoded.get("errors", [])[:5]:
            if isinstance(item, dict):
                where = f"row {item.get('row')}, {item.get('feature')}"
                return (
                    f"{where}: {item.get('problem')}, got {item.get('got')}, expected {item.get('expected')}"
                )
        return str(decoded.get("detail") or decoded.get("error") or decoded)[:400]
    return str(decoded)[:400]


def _read_rows(source: str) -> list[dict[str, Any]]:
    """Rows as dicts. Raises BadInput that names the source."""
    if source == "-":
        return _rows_of_json(sys.stdin.buffer.read(), "standard input")
    if source.lstrip()[:1] in ("{", "["):
        return _rows_of_json(source.encode(), "the argument")
    path = Path(source)
    if not path.is_file():
        raise BadInput(f"{source!r} is neither JSON nor a file that exists", rows=source[:200])
    if path.suffix in TABLES:
        return _rows_of_table(path)
    return _rows_of_json(path.read_bytes(), source)


def _rows_of_json(data: bytes, where: str) -> list[dict[str, Any]]:
    try:
        decoded = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
    rows = decoded if isinstance(decoded, list) else [decoded]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{where}: expected one JSON object, or a list of objects, one per row")
    return rows


def _rows_of_table(path: Path) -> list[dict[str, Any]]:
    from flyball.data.sources import read_source

    frame = read_source(str(path), folder=path.parent)
    return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dicts()]


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
