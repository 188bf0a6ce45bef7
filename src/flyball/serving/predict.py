"""`POST /v1/models/{model}/predict`: decode, check, route, answer, log; what arrives together is answered together."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from functools import partial
from typing import Any

from flyball.core.errors import FlyballError
from flyball.core.ids import derived_id, new_id
from flyball.core.records import PredictionRecord
from flyball.registry.route_table import choose
from flyball.serving.answers import find_wrong
from flyball.serving.asgi import Request, Response, refuse, too_large
from flyball.serving.faults import ModelFault
from flyball.serving.isolation import NotReady, Poisoned, ProcessAnswers
from flyball.serving.jobs import Job, Part, Reply, respond
from flyball.serving.journal import Journal
from flyball.serving.protocol import (
    FieldError,
    PredictBody,
    Rejected,
    check_ids,
    decode_predict,
    invalid,
    list_rows,
    not_ready,
    rejected_rows,
)
from flyball.serving.reading import list_entities, list_moments
from flyball.serving.rows import flag
from flyball.serving.served import Served, ServedModels, Version, shadow_of
from flyball.serving.sizes import MORE_FIELDS, check_sizes

IN_FLIGHT_LIMIT = 1024
IN_FLIGHT_BYTES = 256 * 1024 * 1024
LONG_MICROSECONDS = 5000
_TRACE = re.compile(rb"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")

log = logging.getLogger("flyball.worker")


class Predictions:
    """The endpoint. `models` is looked up anew for each request, so a swap holds from the next one on."""

    def __init__(self, models: ServedModels, journal: Journal, candidate_deadline_seconds: float) -> None:
        self._models = models
        self._journal = journal
        self._candidate_deadline = candidate_deadline_seconds
        self._turn: list[Job] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._in_flight_bytes = 0

    async def handle(self, request: Request) -> Response:
        """Answer one request, as an ASGI handler. Raises Rejected."""
        served = self._models.find_served(request.parameters["model"])
        size = request.announced_bytes
        self._admit()
        self._in_flight += 1
        self._in_flight_bytes += size
        try:
            data = await request.body(served.body_limit_bytes)
            most_values = len(served.contract.features) + MORE_FIELDS
            await check_sizes(data, "rows", served.table.serve.max_rows, most_values)
        finally:
            self._in_flight -= 1
            self._in_flight_bytes -= size
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._begin(served, request, data, answered.set_result)
        return await answered

    def handle_now(self, request: Request, data: bytes, reply: Reply) -> None:
        """Answer one request whose body is here: `reply` is called with the answer, a refusal too, now or later."""
        try:
            served = self._models.find_served(request.parameters["model"])
            request.check_type()
            if len(data) > served.body_limit_bytes:
                raise too_large(served.body_limit_bytes)
            self._admit()
            self._begin(served, request, data, reply)
        except Rejected as refusal:
            reply(refuse(refusal))

    def _admit(self) -> None:
        if self._in_flight >= IN_FLIGHT_LIMIT or self._in_flight_bytes >= IN_FLIGHT_BYTES:
            raise Rejected(429, "overloaded", "too many requests at once; try again", retry_after_seconds=1)

    def _begin(self, served: Served, request: Request, data: bytes, reply: Reply) -> None:
        job = self._read(served, request, decode_predict(data), reply)
        self._route(job)
        if self._is_quick(job):
            if not self._turn:
                asyncio.get_running_loop().call_soon(self._answer_turn)
            self._turn.append(job)
            return
        task = asyncio.create_task(self._answer(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- reading ---

    def _read(self, served: Served, request: Request, body: PredictBody, reply: Reply) -> Job:
        if body.explain:
            raise invalid("explain", "unknown", "true", "false: this release gives no explanations")
        rows: list[dict[str, Any]] = list_rows(body, served.table.serve.max_rows)
        if served.champion is None:
            raise self._models.not_ready(served.model)
        job = Job(served, rows, reply)
        job.moments, wrong_times = list_moments(served, body, rows, job.received_at)
        self._check(job, wrong_times)
        count = len(rows)
        if body.ids is None:
            job.ids = [new_id("prd") for _ in rows]
        else:
            job.ids = [derived_id("prd", served.model, text) for text in check_ids(body.ids, count)]
        job.entities = list_entities(served, request, body, rows)
        # Rows without an entity are routed by it, so it is logged: they were assigned together.
        job.request_id = request.request_id or job.ids[0]
        trace = request.headers.get(b"traceparent")
        if trace is not None and _TRACE.match(trace):
            job.trace = trace.decode("ascii")
        return job

    def _check(self, job: Job, wrong_times: dict[int, FieldError]) -> None:
        """Flag what breaks the contract, and rows without their time, or reject them where the project says so."""
        served = job.served
        check = served.checker.check
        rejects = served.table.on_violation == "reject"
        errors: list[FieldError] = []
        for index, row in enumerate(job.rows):
            broken = check(row, index)
            flags = [flag(violation) for violation in broken]
            job.flags.append(flags)
            wrong = wrong_times.get(index)
            # A time column may be a feature, too: the contract's word about it is enough.
            if wrong is not None and not any(violation.feature == wrong.feature for violation in broken):
                flags.append(f"{wrong.problem}:{wrong.feature}")
                served.count_violation(wrong.problem)
                errors += [wrong] if rejects else []
            for violation in broken:
                served.count_violation(violation.problem)
                if rejects and violation.problem != "unknown":
                    errors.append(
                        FieldError(
                            index, violation.feature, violation.problem, violation.got, violation.expected
                        )
                    )
        if errors:
            self._log_rejected(job, {error.row for error in errors if error.row is not None})
            raise rejected_rows(errors)

    def _log_rejected(self, job: Job, rows: set[int]) -> None:
        assert job.served.champion is not None
        part = Part("champion", job.served.champion.number, sorted(rows))
        part.error = "rejected"
        job.parts = [part]
        job.entities = [None] * len(job.rows)
        self._journal.write_or_drop(job.served.policy, [*job.failures("rejected")])

    # --- routing ---

    def _route(self, job: Job) -> None:
        """Say which version is asked about which rows."""
        served = job.served
        assert served.champion is not None
        if not served.routes_canary:
            job.parts = [Part("champion", served.champion.number, list(range(len(job.rows))))]
            return
        assert served.candidate is not None
        otherwise = job.request_id
        assert otherwise is not None
        arms: dict[str, list[int]] = {}
        for index, entity in enumerate(job.entities):
            arms.setdefault(choose(served.table, entity or otherwise), []).append(index)
        job.parts = [
            Part("candidate", served.candidate.number, indices)
            if arm == "candidate"
            else Part("champion", served.champion.number, indices)
            for arm, indices in arms.items()
        ]

    def _is_quick(self, job: Job) -> bool:
        champion = job.served.champion
        return (
            len(job.parts) == 1
            and job.parts[0].role == "champion"
            and champion is not None
            and champion.local is not None
            and len(job.rows) * champion.local.row_us < LONG_MICROSECONDS
        )

    # --- answering ---

    def _answer_turn(self) -> None:
        """Answer all that arrived in this turn of the event loop: one prediction call per version, one write."""
        jobs, self._turn = self._turn, []
        try:
            by_version: dict[int, list[Job]] = {}
            for job in jobs:
                by_version.setdefault(id(job.served.champion), []).append(job)
            self._finish([job for group in by_version.values() for job in _predict_together(group)])
        except Exception:
            # The edge of a turn, where nobody awaits us: what a model raises was caught before, so this is our own
            # mistake. It is logged, and each client hears of it now instead of waiting for ever.
            log.exception("a turn failed")
            for job in jobs:
                job.refuse(_internal())
        for job in jobs:
            if job.parts[0].answered is None:
                reason = job.parts[0].error or "see the server's log"
                self._fail(job, Rejected(500, "prediction_failed", f"the model failed: {reason}"))

    async def _answer(self, job: Job) -> None:
        """Answer a request that needs a process, or long enough to block others."""
        self._in_flight += 1
        try:
            async with asyncio.timeout(job.served.deadline_seconds):
                for part in job.parts:
                    await self._answer_part(job, part)
            self._finish([job])
        except TimeoutError:
            words = f"{job.served.model} did not answer within {job.served.deadline_seconds:g} s"
            self._fail(job, Rejected(503, "too_slow", words, retry_after_seconds=1))
        except Rejected as refusal:
            self._fail(job, refusal)
        except Exception:
            # The edge of a request's task, whose result nobody looks at: logged, and its client hears of it.
            log.exception("a request failed")
            self._fail(job, _internal())
        finally:
            self._in_flight -= 1

    def _fail(self, job: Job, refusal: Rejected) -> None:
        """A request without an answer leaves records too."""
        if not job.is_answered:
            self._journal.write_or_drop(job.served.policy, [*job.failures(refusal.message)])
            job.refuse(refusal)

    async def _answer_part(self, job: Job, part: Part) -> None:
        rows = [job.served.checker.features_of(job.rows[index]) for index in part.indices]
        if part.role == "candidate" and await self._ask_candidate(job, part, rows):
            return
        champion = job.served.champion
        assert champion is not None
        if champion.local is not None:
            await self._ask_local(champion, job, part, rows)
        else:
            await self._ask_champion_process(champion, job, part, rows)

    async def _ask_candidate(self, job: Job, part: Part, rows: list[dict[str, Any]]) -> bool:
        """Whether the candidate answered; when it did not, the part says why and the champion is next."""
        candidate = job.served.candidate
        assert candidate is not None and candidate.process is not None
        seconds = min(self._candidate_deadline, job.served.deadline_seconds / 2)
        try:
            answers = await candidate.process.ask(rows, seconds)
        except (ModelFault, NotReady, Poisoned) as error:
            part.error = str(error)
            return False
        part.take(candidate, job.served, answers)
        job.spare_us = candidate.process.hop_us
        return True

    async def _ask_local(self, champion: Version, job: Job, part: Part, rows: list[dict[str, Any]]) -> None:
        assert champion.local is not None
        try:
            if len(rows) * champion.local.row_us < LONG_MICROSECONDS:
                answers = champion.local.predict(rows)
            else:
                answers = await asyncio.to_thread(champion.local.predict, rows)
        except Exception as error:
            # A model's own error, of whatever library: told to its client, and logged with the request's records.
            raise _failed(error) from error
        wrong = find_wrong(answers.predictions, answers.scores, len(rows), champion.facts.classes)
        if wrong is not None:
            raise _failed(wrong)
        part.take(champion, job.served, answers)

    async def _ask_champion_process(
        self, champion: Version, job: Job, part: Part, rows: list[dict[str, Any]]
    ) -> None:
        assert champion.process is not None
        try:
            answers = await champion.process.ask(rows, job.served.deadline_seconds)
        except NotReady as error:
            raise not_ready(job.served.model, str(error)) from error
        except Poisoned as error:
            raise invalid("rows", "refused", str(error), "another input") from error
        except ModelFault as fault:
            if fault.kind in ("exception", "not_finite", "shape"):
                raise _failed(fault) from fault
            raise not_ready(job.served.model, str(fault)) from fault
        part.take(champion, job.served, answers)
        job.spare_us = champion.process.hop_us

    # --- logging and sending ---

    def _finish(self, jobs: list[Job]) -> None:
        """Log answered jobs in one write, then let their answers go (after the sync, where a model asks for it)."""
        batches = [(job.served.policy, job.records()) for job in jobs]
        try:
            synced = self._journal.write([(policy, [*records]) for policy, records in batches])
        except (FlyballError, OSError) as error:
            synced = None
            for job, (policy, records) in zip(jobs, batches, strict=True):
                self._journal.drop(policy, len(records), error)
                if policy.refuses:
                    words = f"{job.served.model} answers only what it can log, and there is no room: {error}"
                    job.refuse(Rejected(503, "log_full", words, retry_after_seconds=5))
        for job, (policy, records) in zip(jobs, batches, strict=True):
            if job.is_answered:
                continue
            response = respond(job)
            if synced is not None and policy.durability == "disk":
                synced.add_done_callback(partial(_answer_synced, job, response))
            else:
                job.answer(response)
            _note(job, records)


def _predict_together(jobs: list[Job]) -> list[Job]:
    """The jobs that were answered; the others' parts say why not. One bad request never fails its neighbours."""
    champion = jobs[0].served.champion
    assert champion is not None and champion.local is not None
    rows = [row for job in jobs for row in job.rows]
    try:
        answers = champion.local.predict(rows)
        wrong = find_wrong(answers.predictions, answers.scores, len(rows), champion.facts.classes)
        if wrong is not None:
            raise wrong
    except Exception as error:  # noqa: BLE001 - a model's own error: reported to its client, and in the log
        if len(jobs) > 1:
            return [done for job in jobs for done in _predict_together([job])]
        jobs[0].parts[0].error = str(error) if isinstance(error, ModelFault) else f"exception: {error}"[:500]
        return []
    start = 0
    for job in jobs:
        end = start + len(job.rows)
        scores = answers.scores[start:end] if answers.scores is not None else None
        job.parts[0].take(champion, job.served, ProcessAnswers(answers.predictions[start:end], scores))
        start = end
    return jobs


def _note(job: Job, records: list[PredictionRecord]) -> None:
    """Count the answer; have the shadow asked."""
    seconds = (time.perf_counter_ns() - job.started_ns) / 1e9
    for part in job.parts:
        job.served.count(part.role, part.asked, len(part.indices), seconds)
    shadow = job.served.shadow
    if shadow is not None and job.served.candidate is not None:
        number = job.served.candidate.number
        shadow.offer([shadow_of(record, number) for record in records])


def _answer_synced(job: Job, response: Response, done: asyncio.Future[None]) -> None:
    """The sync is over: the answer goes, or says that nothing is sure to be on disk."""
    error = done.exception()
    if error is None:
        job.answer(response)
    else:
        words = f"the prediction could not be brought to disk: {error}"
        job.refuse(Rejected(503, "log_failed", words, retry_after_seconds=5))


def _internal() -> Rejected:
    return Rejected(500, "internal", "this should not happen; see the server's log")


def _failed(error: Exception) -> Rejected:
    return Rejected(500, "prediction_failed", f"the model failed: {error}"[:600])
