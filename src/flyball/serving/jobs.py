"""A request on its way: which version was asked about which rows, the records it leaves, the answer it gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flyball.core.ids import new_id
from flyball.core.records import RECORD_FORMAT, PredictionRecord, Role
from flyball.serving.asgi import JSON, Response, refuse
from flyball.serving.isolation import ProcessAnswers
from flyball.serving.protocol import PredictAnswer, Rejected, encode
from flyball.serving.served import Served, Version, decide

Reply = Callable[[Response], None]


class Part:
    """Rows of one request that one version was asked about, and what came of it."""

    __slots__ = ("answered", "asked", "error", "indices", "predictions", "role", "scores")

    def __init__(self, role: Role, asked: int, indices: list[int]) -> None:
        self.role = role
        self.asked = asked
        self.indices = indices
        self.answered: int | None = None
        self.predictions: list[Any] = []
        self.scores: list[list[float]] | None = None
        self.error: str | None = None

    def take(self, version: Version, served: Served, answers: ProcessAnswers) -> None:
        """These rows were answered by this version."""
        self.answered = version.number
        self.scores = answers.scores
        self.predictions = decide(served.table, version.facts, answers.predictions, answers.scores)


class Job:
    """One request on its way."""

    __slots__ = (
        "_reply", "entities", "flags", "ids", "is_answered", "moments", "parts", "received_at", "request_id", "rows",
        "served", "spare_us", "started_ns", "trace",
    )  # fmt: skip

    def __init__(self, served: Served, rows: list[dict[str, Any]], reply: Reply) -> None:
        self.served = served
        self.rows = rows
        self.is_answered = False
        self._reply = reply
        self.started_ns = time.perf_counter_ns()
        self.received_at = datetime.now(UTC)
        self.parts: list[Part] = []
        self.ids: list[str] = []
        self.entities: list[str | None] = []
        self.moments: list[datetime] = []
        self.flags: list[list[str]] = []
        self.request_id: str | None = None
        self.trace: str | None = None
        self.spare_us = 0

    def answer(self, response: Response) -> None:
        """Send the answer; the first one holds."""
        if not self.is_answered:
            self.is_answered = True
            self._reply(response)

    def refuse(self, refusal: Rejected) -> None:
        """Send a refusal."""
        self.answer(refuse(refusal))

    def records(self) -> list[PredictionRecord]:
        """One record per row, of what was asked and answered."""
        latency = max((time.perf_counter_ns() - self.started_ns) // 1000 - self.spare_us, 0)
        features_of = self.served.checker.features_of
        made = []
        for part in self.parts:
            for position, row in enumerate(part.indices):
                made.append(
                    PredictionRecord(
                        format=RECORD_FORMAT,
                        id=self.ids[row],
                        model=self.served.model,
                        at=self.moments[row],
                        received_at=self.received_at,
                        role=part.role,
                        asked=part.asked,
                        answered=part.answered,
                        revision=self.served.table.revision,
                        request_id=self.request_id,
                        entity=self.entities[row],
                        input=features_of(self.rows[row]),
                        output=part.predictions[position] if part.answered is not None else None,
                        scores=part.scores[position] if part.scores is not None else None,
                        flags=self.flags[row],
                        error=part.error,
                        latency_us=latency,
                        trace=self.trace,
                    )
                )
        return made

    def failures(self, reason: str) -> list[PredictionRecord]:
        """Records of rows that got no answer, under ids of their own: a retry is a request of its own."""
        for part in self.parts:
            part.answered, part.scores = None, None
            part.error = part.error or reason
        self.ids = [new_id("prd") for _ in self.rows]
        return self.records()


def respond(job: Job) -> Response:
    served = job.served
    assert served.champion is not None
    parts = job.parts
    first = parts[0]
    if len(parts) == 1:
        number = first.answered if first.answered is not None else first.asked
        role = "candidate" if first.role == "candidate" and number == first.asked else "champion"
        answer = PredictAnswer(
            served.model, number, role, first.predictions, job.ids, job.flags, scores=first.scores
        )
    else:
        answer = _mixed(job)
    headers = [JSON, (b"x-flyball-version", b"%d" % answer.version)]
    return Response(200, encode(answer), headers)


def _mixed(job: Job) -> PredictAnswer:
    """The answer to a request whose rows went to several versions: the champion's number, and one per row beside."""
    count = len(job.rows)
    predictions: list[Any] = [None] * count
    scores: list[Any] = [None] * count
    versions, roles = [0] * count, [""] * count
    for part in job.parts:
        number = part.answered if part.answered is not None else part.asked
        for position, row in enumerate(part.indices):
            predictions[row] = part.predictions[position]
            scores[row] = part.scores[position] if part.scores is not None else None
            versions[row] = number
            roles[row] = "candidate" if part.role == "candidate" and number == part.asked else "champion"
    champion = job.served.champion
    assert champion is not None
    return PredictAnswer(
        job.served.model,
        champion.number,
        "champion",
        predictions,
        job.ids,
        job.flags,
        scores=None if None in scores else scores,
        versions=versions,
        roles=roles,
    )
