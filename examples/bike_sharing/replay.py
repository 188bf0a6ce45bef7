"""Replays rows in the order of their event times: predictions through HTTP, outcomes after their delay.

History passes faster than it happened, so before going on the replay asks the control plane how far the loop has come
(`GET /api/v1/models/{model}/progress`) and does not run ahead of the next decision. Live traffic needs none of this.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 4
WAIT_SECONDS = 180.0
OUTCOMES_PER_REQUEST = 200
EVENTS_PER_BATCH = 2000

# When, what (0 an outcome, 1 a prediction), and the index of its row. At one moment outcomes come first.
Event = tuple[datetime, int, int]


@dataclass(frozen=True)
class Row:
    """One request to be: when it happens, its features, and the truth that comes later."""

    at: datetime
    features: dict[str, Any]
    outcome: float


@dataclass
class Tally:
    """What was sent and what came back. `answers` maps the index of a row to (prediction, id, version)."""

    sent: int = 0
    answered: int = 0
    errors: list[str] = field(default_factory=list)
    answers: dict[int, tuple[float, str, int]] = field(default_factory=dict)
    outcomes: int = 0


class Http:
    """Kept-alive JSON calls to one server, one connection a thread; one retry after a dropped connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self._local = threading.local()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and decoded body. Raises OSError when the server does not answer twice."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        for attempt in (0, 1):
            connection = self._connection(fresh=bool(attempt))
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                if attempt:
                    raise
                continue
            return answer.status, json.loads(content) if content else None
        raise AssertionError("unreachable")

    def _connection(self, *, fresh: bool) -> http.client.HTTPConnection:
        if fresh or not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        return self._local.connection


class Replay:
    """Sends `rows` (in time order) to one model; `run` returns the tally."""

    def __init__(
        self,
        model: str,
        rows: list[Row],
        outcome_delay: timedelta,
        *,
        serve_url: str,
        control_url: str,
        first: int = 0,
    ) -> None:
        self.model = model
        self.tally = Tally()
        self.at: datetime | None = None
        self._rows = rows
        self._delay = outcome_delay
        self._serve = Http(serve_url)
        self._control = Http(control_url)
        self._events = sorted(
            [(row.at, 1, index) for index, row in enumerate(rows)]
            + [(row.at + outcome_delay, 0, index) for index, row in enumerate(rows)]
        )
        self._first = first
        self._base: tuple[int, int] | None = None

    def run(self, until: datetime | None = None, on_batch: Callable[[Replay], None] | None = None) -> Tally:
        """Send everything up to `until` (all, without); waits for the loop before each decision it may take."""
        events = [event for event in self._events if until is None or event[0] <= until]
        self._events = self._events[len(events) :]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            position = 0
            while position < len(events):
                before, through = _next_batch(events, position, self.wait_for_the_loop())
                self._send(events[position:before], pool)
                # Only once all of those were answered: the loop must not pass the moment while one is on its way.
                self._send(events[before:through], pool)
                self.at = events[through - 1][0]
                position = through
                if on_batch is not None:
                    on_batch(self)
        self.wait_for_the_loop()
        return self.tally

    def wait_for_the_loop(self) -> datetime | None:
        """Wait until the loop has read what was sent and finished what it decided; its next moment of decision."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            status, progress = self._control.call("GET", f"/api/v1/models/{self.model}/progress")
            if status == 200:
                if self._base is None:
                    self._base = (progress["predictions"], progress["outcomes"])
                seen = (progress["predictions"] - self._base[0], progress["outcomes"] - self._base[1])
                if seen[0] >= self.tally.answered and seen[1] >= self.tally.outcomes and not progress["busy"]:
                    following = progress["next_decision_at"]
                    return datetime.fromisoformat(following) if following else None
            if time.monotonic() > deadline:
                raise TimeoutError(f"the loop did not come up with the replay of {self.model}: {progress}")
            time.sleep(0.05)

    def _send(self, events: list[Event], pool: ThreadPoolExecutor) -> None:
        """Predictions whose outcomes are due in this batch, then outcomes, then the other predictions.

        A model's time passes with its predictions: what is due by then must have been told before.
        """
        if not events:
            return
        end = events[-1][0]
        asked = [(at, index) for at, kind, index in events if kind == 1]
        self.tally.sent += len(asked)
        self._ask([index for at, index in asked if at + self._delay <= end], pool)
        self._tell(events)
        self._ask([index for at, index in asked if at + self._delay > end], pool)

    def _ask(self, rows: list[int], pool: ThreadPoolExecutor) -> None:
        for index, answer, error in pool.map(self._predict, rows):
            if answer is None:
                self.tally.errors.append(error)
            else:
                self.tally.answers[index] = answer
                self.tally.answered += 1

    def _tell(self, events: list[Event]) -> None:
        due = [
            self._outcome(at, index)
            for at, kind, index in events
            if kind == 0 and index in self.tally.answers
        ]
        for start in range(0, len(due), OUTCOMES_PER_REQUEST):
            part = due[start : start + OUTCOMES_PER_REQUEST]
            status, answer = self._serve.call("POST", f"/v1/models/{self.model}/outcomes", {"outcomes": part})
            if status == 200:
                self.tally.outcomes += len(part)
            else:
                self.tally.errors.append(f"outcomes: {status} {answer}")

    def _predict(self, index: int) -> tuple[int, tuple[float, str, int] | None, str]:
        row = self._rows[index]
        body = {"rows": [row.features], "at": row.at.isoformat()}
        try:
            status, answer = self._serve.call("POST", f"/v1/models/{self.model}/predict", body)
        except (OSError, http.client.HTTPException) as error:
            return index, None, f"row {index}: {error!r}"
        if status != 200:
            return index, None, f"row {index}: {status} {answer}"
        return index, (answer["predictions"][0], answer["prediction_ids"][0], answer["version"]), ""

    def _outcome(self, at: datetime, index: int) -> dict[str, Any]:
        return {
            "prediction_id": self.tally.answers[index][1],
            "value": self._rows[index].outcome,
            "at": at.isoformat(),
        }


def _next_batch(events: list[Event], position: int, decision_at: datetime | None) -> tuple[int, int]:
    """Where the events end that belong before the loop's next decision, and where those that make it due.

    A moment passes with the first prediction after it. Until the first prediction was read nobody knows when the first
    decision is due: one event at a time.
    """
    if decision_at is None:
        return position + 1, position + 1
    last = min(len(events), position + EVENTS_PER_BATCH)
    before = position
    while before < last and events[before][0] <= decision_at:
        before += 1
    through = before
    while through < last and (through == before or events[through - 1][1] == 0):
        through += 1
    return before, through
