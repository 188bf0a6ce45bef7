"""A model server asked about many rows: in chunks that it takes, some at once, waited for while it is busy.

A row that can't be answered gets its problem, and the rows beside it are asked again without it: under the ids that
they have in any case, so nothing is logged twice.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import httpx2 as httpx
import msgspec

from flyball.core.errors import BadInput, NotFound, Unavailable
from flyball.data.sources import describe_source
from flyball.operations.asking import TIMEOUT_SECONDS, describe_error, read_pause

CHUNK_ROWS = 1000
CHUNK_BYTES = 2 * 1024 * 1024
# How long a server may be busy, and how long away (a worker that died is back within a second or two).
BUSY_SECONDS = 60.0
AWAY_SECONDS = 5.0
# So many rows that the model itself fails on are told one by one; more of them mean that it is the model.
MOST_FAILED = 100

T = TypeVar("T")


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of a model. classes: of a classification, in the order of its champion's scores.

    types: of each feature, as the Open Inference Protocol names them.
    """

    name: str
    features: list[str]
    types: dict[str, str]
    entity: str | None
    time: str | None
    classes: list[Any] | None
    is_regression: bool


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    datatype: str


class _Metadata(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    outputs: Annotated[list[_Tensor], msgspec.Meta(min_length=1)]
    classes: list[Any] | None = None
    entity: str | None = None
    time: str | None = None


class _Predicted(msgspec.Struct, frozen=True):
    version: int
    predictions: list[Any]
    prediction_ids: list[str]
    flags: list[list[str]]
    scores: list[list[float]] | None = None
    versions: list[int] | None = None


class Answers:
    """What came of each row of a chunk, in order; None where there is nothing."""

    def __init__(self, count: int) -> None:
        self.predictions: list[Any] = [None] * count
        self.scores: list[list[float] | None] = [None] * count
        self.versions: list[int | None] = [None] * count
        self.ids: list[str | None] = [None] * count
        self.flags: list[list[str]] = [[] for _ in range(count)]
        self.problems: list[str | None] = [None] * count


class Asker:
    """Asks one server about rows of one model; used by several threads at once."""

    def __init__(self, url: str, model: str, check: Callable[[], float | None]) -> None:
        """check: seconds that are left, None without a limit; raises once there are none."""
        self._url = url.rstrip("/")
        self._shown = describe_source(self._url)
        self.model = model
        self._place = quote(model, safe="")
        self.size = CHUNK_ROWS
        self._check = check
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS)
        self._stopped = threading.Event()
        self._failed = 0
        self._order: dict[int, list[int] | None] = {}
        self._classes: list[Any] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ask nothing more; what waits, ends."""
        self._stopped.set()
        self._client.close()

    def describe(self) -> ServedModel:
        """What the model takes and gives. Raises NotFound, Unavailable."""
        told = self._get(f"/v2/models/{self._place}")
        self._classes = told.classes
        return ServedModel(
            name=self.model,
            features=[item.name for item in told.inputs],
            types={item.name: item.datatype for item in told.inputs},
            entity=told.entity,
            time=told.time,
            classes=self._classes,
            is_regression=told.outputs[0].datatype == "FP64",
        )

    def ask(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        ids: Sequence[str],
        problems: dict[int, str],
    ) -> Answers:
        """What comes of each row. problems: of rows that are not sent. Raises Unavailable, NotFound, BadInput."""
        answers = Answers(len(rows))
        for index, problem in problems.items():
            answers.problems[index] = problem
        waiting = [[index for index in range(len(rows)) if index not in problems]]
        while waiting:
            if part := waiting.pop():
                waiting += self._ask(columns, rows, ids, part, answers)
        return answers

    def _ask(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        ids: Sequence[str],
        part: list[int],
        answers: Answers,
    ) -> list[list[int]]:
        """Ask about some of the rows; what is to be asked again."""
        body = msgspec.json.encode(
            {
                "columns": columns,
                "data": [rows[index] for index in part],
                "ids": [ids[index] for index in part],
            }
        )
        if len(body) > CHUNK_BYTES and len(part) > 1:
            return _halves(part)
        response = self._send("POST", f"/v1/models/{self._place}/predict", body, can_halve=len(part) > 1)
        if response.status_code == 200:
            self._take(_decode(self._shown, response.content, _Predicted), part, answers)
            return []
        return self._after_refusal(response, part, answers)

    def _after_refusal(self, response: httpx.Response, part: list[int], answers: Answers) -> list[list[int]]:
        """What is to be asked again of rows that were not answered: without those that are named, or in halves.

        One row that is left alone with its refusal has that for a problem. Raises what is about no row.
        """
        status = response.status_code
        refusal = _decode(self._shown, response.content, dict[str, Any])
        code, text = refusal.get("code"), str(refusal.get("message") or status)
        if status == 422 and (named := _named(refusal, len(part))):
            for place, problem in named.items():
                answers.problems[part[place]] = problem
            return [[index for place, index in enumerate(part) if place not in named]]
        if status not in (413, 422) and code not in ("prediction_failed", "too_slow"):
            self._refuse(status, text)
        if len(part) > 1:
            if status != 422 and code != "prediction_failed":
                self.size = max(1, min(self.size, len(part) // 2))
            return _halves(part)
        if status == 503:
            self._refuse(503, text)
        if status == 500:
            self._count_failed(text)
        answers.problems[part[0]] = text
        return []

    def _take(self, told: _Predicted, part: list[int], answers: Answers) -> None:
        count = len(part)
        versions = told.versions or [told.version] * count
        scores: list[list[float]] | list[None] = told.scores or [None] * count
        columns = (part, told.predictions, told.prediction_ids, told.flags, versions, scores)
        if any(len(column) != count for column in columns) or any(map(self._lacks_a_class, scores)):
            raise Unavailable(f"{self._shown} answered with other rows or classes than it was asked about")
        for index, prediction, identity, flags, version, row in zip(*columns, strict=True):
            answers.predictions[index] = prediction
            answers.ids[index] = identity
            answers.flags[index] = flags
            answers.versions[index] = version
            order = None if row is None else self._order_of(version)
            answers.scores[index] = row if order is None or row is None else [row[place] for place in order]

    def _lacks_a_class(self, row: list[float] | None) -> bool:
        return row is not None and self._classes is not None and len(row) != len(self._classes)

    def _order_of(self, version: int) -> list[int] | None:
        """Where a version's scores have the classes of the output; None where they stand in the same order.

        Raises Unavailable for a version with other classes: the output has its columns by then.
        """
        with self._lock:
            if version not in self._order:
                told: list[Any] | None = self._classes
                # One that was replaced since can't be asked any more; the classes of a model seldom change.
                with contextlib.suppress(NotFound):
                    told = self._get(f"/v2/models/{self._place}/versions/{version}").classes
                if told == self._classes or told is None or self._classes is None:
                    self._order[version] = None
                elif sorted(map(repr, told)) == sorted(map(repr, self._classes)):
                    self._order[version] = [told.index(label) for label in self._classes]
                else:
                    raise Unavailable(
                        f"version {version} of {self.model} has other classes than the version before it, and OUTPUT "
                        "has its columns already; ask again once the rollout is over"
                    )
            return self._order[version]

    def _count_failed(self, text: str) -> None:
        self._failed += 1
        if self._failed > MOST_FAILED:
            raise Unavailable(f"{self.model} fails on more than {MOST_FAILED} rows, at last with: {text}")

    def _get(self, path: str) -> _Metadata:
        response = self._send("GET", path)
        if response.status_code != 200:
            told = _decode(self._shown, response.content, dict[str, Any])
            self._refuse(response.status_code, str(told.get("message") or told))
        return _decode(self._shown, response.content, _Metadata)

    def _send(
        self, method: str, path: str, body: bytes | None = None, *, can_halve: bool = False
    ) -> httpx.Response:
        """The answer; a busy server and one that is away for a moment are asked again. Raises Unavailable.

        can_halve: whether the caller can ask for less where this much takes the server too long.
        """
        away_since = busy_since = None
        while True:
            try:
                response = self._send_once(method, path, body)
                away_since = None
            except httpx.TransportError as error:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if now - away_since > AWAY_SECONDS or isinstance(error, httpx.TimeoutException):
                    raise Unavailable(
                        f"{self._shown} does not answer any more ({error})", url=self._shown
                    ) from error
                self._wait(0.1)
                continue
            pause = read_pause(response.headers)
            if response.status_code not in (429, 503) or pause is None:
                return response
            if can_halve and b'"too_slow"' in response.content:
                return response
            now = time.monotonic()
            busy_since = now if busy_since is None else busy_since
            if now - busy_since > BUSY_SECONDS:
                return response
            self._wait(min(pause, 5))

    def _send_once(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        left = self._check()
        if self._stopped.is_set():
            raise Unavailable("stopped")
        timeout = TIMEOUT_SECONDS if left is None else min(TIMEOUT_SECONDS, left)
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            return self._client.request(
                method, self._url + path, content=body, headers=headers, timeout=timeout
            )
        except httpx.TimeoutException:
            self._check()
            raise
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise BadInput(f"{self._shown} is no address of a model server: {error}") from error

    def _wait(self, seconds: float) -> None:
        self._check()
        self._stopped.wait(seconds)

    def _refuse(self, status: int, text: str) -> None:
        """Raises what an answer means that is about no row."""
        if status == 404:
            raise NotFound(text, status=404)
        if status == 429 or status >= 500:
            raise Unavailable(f"the model server answered {status}: {text}", status=status)
        raise BadInput(f"the model server refused ({status}): {text}", status=status)


def _halves(part: list[int]) -> list[list[int]]:
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _named(refusal: dict[str, Any], count: int) -> dict[int, str]:
    """The problems of the rows that a refusal names; none if it is about something else, too."""
    named: dict[int, list[str]] = {}
    errors = refusal.get("errors")
    for error in errors if isinstance(errors, list) else []:
        row = error.get("row") if isinstance(error, dict) else None
        if type(row) is not int or not 0 <= row < count:
            return {}
        named.setdefault(row, []).append(describe_error(error))
    return {row: "; ".join(problems) for row, problems in named.items()}


def _decode(url: str, content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise Unavailable(f"{url} does not answer as a model server of Flyball: {error}", url=url) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"{url} answered no JSON: this is no model server of Flyball", url=url) from error
