"""The remote Flyball object: the same verbs over HTTP, for `flyball.connect(url)` and for programs elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2 as httpx
import msgspec

from flyball.core import errors
from flyball.core.clock import parse_moment
from flyball.core.endpoints import MOST_DIGESTS
from flyball.core.ids import new_id

API = "/api/v1"
MOST_ITEMS = 200
MOST_LOG_LINES = 1000
ATTEMPTS = 3
# The control plane answers when an object is on its disk, or in the bucket that it keeps its objects in.
UPLOAD_SECONDS = 600.0
_PIECE_BYTES = 1024 * 1024

# What users and models wrote is handed on as it is: a feature may well be called `at`.
_AS_WRITTEN = frozenset({"input", "facts", "params", "project", "contract"})
_BRANCHES: tuple[tuple[int, type[errors.FlyballError]], ...] = (
    (400, errors.BadInput),
    (401, errors.Refused),
    (403, errors.Refused),
    (404, errors.NotFound),
    (409, errors.Conflict),
    (413, errors.BadInput),
    (422, errors.BadInput),
    (503, errors.Unavailable),
    (507, errors.Unavailable),
)


class Record(dict[str, Any]):
    """A JSON object whose members are attributes too, with moments as aware datetimes: `version.created_at`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the answer has no {name!r}; it has {', '.join(self)}") from None


class Client:
    """The verbs of a control plane at `url`. Use it as a context manager, or `close()` it.

    Changes carry a key of their own, so that one whose answer got lost is repeated and happens once. Errors are those
    of the local object: what the server refuses raises the same class here.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_seconds: float = 60.0, name: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errors.BadInput(f"{url!r} is no address of a control plane, such as http://127.0.0.1:8080")
        # What stands before an @ is for whoever guards the address, and in no message.
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._name = name
        self._told_by = f"environment {name}: " if name else ""
        # A program is no browser that a foreign page could have sent: it names the address it calls as its origin.
        headers = {"Origin": self.url, "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=f"{parts.scheme}://{parts.netloc}", headers=headers, timeout=timeout_seconds
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Models and versions

    def list_models(self) -> list[Record]:
        """Every model in one line."""
        return list(self._items("/models"))

    def get_model(self, model: str) -> Record:
        """One model in one line. Raises ModelNotFound."""
        return self._record(f"/models/{_part(model)}")

    def list_versions(self, model: str, limit: int = 200) -> list[Record]:
        """Versions of a model, newest first."""
        return list(self._items(f"/models/{_part(model)}/versions", limit=limit))

    def show_version(self, ref: str) -> Record:
        """A version `model@ref` (the champion without `@`) with evidence, gates, lineage and rollouts."""
        model, at, version = ref.partition("@")
        if not at:
            version = "champion"
        return self._record(f"/models/{_part(model)}/versions/{_part(version)}")

    def history(self, model: str) -> list[Record]:
        """Every move of an alias of a model, oldest first."""
        return list(self._items(f"/models/{_part(model)}/history"))[::-1]

    def why(self, model: str) -> Record:
        """How a model stands and why, in a paragraph."""
        return self._record(f"/models/{_part(model)}/why")

    def progress(self, model: str) -> Record:
        """How far the loop has come with a model."""
        return self._record(f"/models/{_part(model)}/progress")

    def metric_series(self, model: str) -> Record:
        """Loss per window and the events to mark on it."""
        return self._record(f"/models/{_part(model)}/series")

    def drift_series(self, model: str) -> Record:
        """Drift score per feature and window."""
        return self._record(f"/models/{_part(model)}/drift")

    def monitor(self, model: str | None = None) -> list[Record]:
        """The state of every check of one model or of all."""
        names = [model] if model else [found.name for found in self.list_models()]
        return [check for name in names for check in self._get(f"/models/{_part(name)}/checks")]

    def check_and_wait(
        self, model: str | None = None, *, key: str | None = None, timeout_seconds: float = 600.0
    ) -> list[Record]:
        """The state of every check once all windows closed by now are judged; for a key the same answer again.

        Raises WorkflowTimeout when that takes longer.
        """
        deadline = time.monotonic() + timeout_seconds
        names = [model] if model else [found.name for found in self.list_models()]
        return [check for name in names for check in self._await_checks(name, key or new_id("key"), deadline)]

    def _await_checks(self, model: str, key: str, deadline: float) -> list[Record]:
        while True:
            try:
                answer = self._post(f"/models/{_part(model)}/monitor", {"key": key})
            except errors.WorkflowTimeout:
                # It goes on over there; the key makes asking again no second request.
                if time.monotonic() >= deadline:
                    raise
            else:
                checks: list[Record] = answer.checks
                return checks

    # Runs and predictions

    def list_runs(self, model: str | None = None, limit: int = 20) -> list[Record]:
        """Runs, newest first."""
        return list(self._items("/runs", model=model, limit=limit))

    def get_run(self, run_id: str) -> Record:
        """A run and its steps. Raises RunNotFound."""
        return self._record(f"/runs/{_part(run_id)}")

    def run_log(self, run_id: str, offset: int | None = None, limit: int = 200) -> Record:
        """What a run printed: at most `limit` lines from line `offset` on, the last ones without it."""
        return self._record(f"/runs/{_part(run_id)}/log", offset=offset, limit=limit)

    def run_logs(self, run_id: str, limit: int = 10_000) -> list[str]:
        """The last lines that a run printed, oldest first."""
        page = self.run_log(run_id, limit=min(limit, MOST_LOG_LINES))
        if limit > MOST_LOG_LINES and page.offset > 0:
            page = self.run_log(run_id, max(0, page.total - limit), MOST_LOG_LINES)
        lines: list[str] = list(page.lines)
        while page.next is not None and len(lines) < limit:
            page = self.run_log(run_id, page.next, min(limit - len(lines), MOST_LOG_LINES))
            lines += page.lines
        return lines

    def get_prediction(self, prediction_id: str) -> Record:
        """One prediction with input, answer, version, outcome and lineage."""
        return self._record(f"/predictions/{_part(prediction_id)}")

    def recent_predictions(self, model: str, limit: int = 50) -> list[Record]:
        """The newest predictions of a model, in short."""
        return list(self._items(f"/models/{_part(model)}/predictions", limit=limit))

    def lineage(self, target: str) -> list[Record]:
        """What a prediction (id) or a version (model@ref) came from, nearest first."""
        if target.startswith("sha256:"):
            raise errors.BadInput(
                "what came of a digest is told in place, not over HTTP; run this on the home"
            )
        found = self.get_prediction(target) if target.startswith("prd_") else self.show_version(target)
        steps: list[Record] = found.lineage
        return steps

    # Delivery and the loop. Who acts is for the control plane to know, so `actor` is accepted and not sent.

    def deploy(
        self, ref: str, *, why: str = "", strategy: str | None = None, actor: str | None = None
    ) -> Record:
        """Start a rollout of a version; the newest registered one when the reference names none."""
        model, _, version = ref.partition("@")
        body = {"version": version or None, "why": why, "strategy": strategy}
        return self._post(f"/models/{_part(model)}/deploy", body)

    def missing_objects(self, digests: Sequence[str]) -> list[str]:
        """Those of the digests of which the control plane has no object."""
        missing: list[str] = []
        for start in range(0, len(digests), MOST_DIGESTS):
            answer = self._post("/objects/missing", {"digests": list(digests[start : start + MOST_DIGESTS])})
            missing += answer["missing"]
        return missing

    def put_object(self, digest: str, path: Path) -> None:
        """Store a file under its digest. Raises BadInput when its bytes have another one, or it is too large."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
        }
        self._answer(
            "PUT",
            f"/objects/{_part(digest)}",
            content=_Pieces(path),
            headers=headers,
            timeout=UPLOAD_SECONDS,
        )

    def take_version(self, model: str, record: str, verdicts: list[dict[str, Any]]) -> Record:
        """Register a version whose objects and record (the object of this digest) were sent."""
        body = {"record": record, "verdicts": verdicts}
        return self._post(f"/models/{_part(model)}/versions", body, timeout=UPLOAD_SECONDS)

    def deploy_under(self, ref: str, *, why: str, settings: dict[str, Any]) -> Record:
        """Start the rollout of a version under these settings of a project, or learn how it stands."""
        model, _, version = ref.partition("@")
        return self._post(
            f"/models/{_part(model)}/deploy", {"version": version, "why": why, "settings": settings}
        )

    def rollout_status(self, model: str) -> Record | None:
        """The newest rollout of a model, or None."""
        return next(self._items("/rollouts", model=model, limit=1), None)

    def list_rollouts(self, model: str | None, limit: int = 50) -> list[Record]:
        """Rollouts, newest first."""
        return list(self._items("/rollouts", model=model, limit=limit))

    def decide_rollout(self, model: str, decision: str, *, why: str, actor: str | None = None) -> Record:
        """Pause, resume, promote or abort the running rollout by a person's decision."""
        return self._post(f"/models/{_part(model)}/rollout/{_part(decision)}", {"why": why})

    def rollback(self, model: str, *, to: str | None = None, why: str, actor: str | None = None) -> Record:
        """Put the previous champion (or version `to`) back into service at once."""
        return self._post(f"/models/{_part(model)}/rollback", {"to": to, "why": why})

    def retrain(self, model: str, *, why: str, actor: str | None = None, key: str | None = None) -> Record:
        """Ask for a retraining on the rows known by now; under a key that was used, it is that retraining."""
        body = {"why": why} if key is None else {"why": why, "key": key}
        return self._post(f"/models/{_part(model)}/retrain", body)

    @contextmanager
    def turning(self, on_line: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        """For whoever waits: the control plane that answers here turns the loop, so there is nothing to see to."""
        yield lambda: None

    def list_retrainings(self, model: str | None = None, limit: int = 100) -> list[Record]:
        """Retrainings, newest first."""
        return list(self._items("/retrainings", model=model, limit=limit))

    def list_signals(self, model: str | None = None, limit: int = 100) -> list[Record]:
        """Alarms, newest first."""
        return list(self._items("/signals", model=model, limit=limit))

    def list_incidents(self, model: str | None = None, limit: int = 100) -> list[Record]:
        """Incidents, newest first."""
        return list(self._items("/incidents", model=model, limit=limit))

    def get_incident(self, incident_id: str) -> Record:
        """An incident, its timeline and its signals. Raises IncidentNotFound."""
        return self._record(f"/incidents/{_part(incident_id)}")

    def add_note(self, incident_id: str, text: str, *, actor: str | None = None) -> None:
        """Add a note to an incident's timeline."""
        self._post(f"/incidents/{_part(incident_id)}/notes", {"text": text})

    # Governance and upkeep

    def audit_log(self, model: str | None = None, limit: int = 50, before: int | None = None) -> list[Record]:
        """The newest audit entries (before a number), newest first."""
        cursor = None if before is None else str(before)
        return list(self._items("/audit", model=model, limit=limit, cursor=cursor))

    def audit_verify(self, head: str | None = None) -> Record:
        """Whether the chain of audit entries holds, up to a head noted earlier when one is given."""
        return self._record("/audit/verify", head=head)

    def list_events(self, after: int = 0, limit: int = 100) -> list[Record]:
        """Events in the order of their numbers."""
        page = self._get("/events", after=after, limit=min(limit, MOST_ITEMS), stream="false")
        found: list[Record] = page["items"]
        return found

    def status(self) -> Record:
        """What runs, and where state lives."""
        return self._record("/status")

    def health(self) -> Record:
        """Whether the control plane answers."""
        return self._record("/health")

    def _record(self, path: str, **query: Any) -> Record:
        found = self._get(path, **query)
        if not isinstance(found, Record):
            raise errors.Unavailable(f"{self.url}{API}{path} answered something else than an object")
        return found

    def _items(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """The items of a list over all its pages, at most `limit`."""
        left = limit
        cursor = query.pop("cursor", None)
        while left is None or left > 0:
            size = MOST_ITEMS if left is None else min(left, MOST_ITEMS)
            page = self._get(path, limit=size, cursor=cursor, **query)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def _get(self, path: str, **query: Any) -> Any:
        wanted = {name: value for name, value in query.items() if value is not None}
        return self._answer("GET", path, params=wanted)

    def _post(self, path: str, body: Mapping[str, Any], **options: Any) -> Record:
        headers = {"Idempotency-Key": new_id("key"), "Content-Type": "application/json"}
        content = msgspec.json.encode(body)
        answer: Record = self._answer("POST", path, content=content, headers=headers, **options)
        return answer

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._http.request(method, API + path, **options)
            except httpx.TransportError as error:
                # A change may have been made although its answer is lost; the key makes repeating it safe.
                if attempt == ATTEMPTS:
                    raise errors.Unavailable(
                        f"{self._told_by}{self.url} does not answer ({error}); is `flyball up` running there?",
                        url=self.url,
                    ) from error
                continue
            if response.is_success:
                return _read(response.content)
            with errors.told_of(self._name):
                raise _error(response.status_code, response.content, self._told_by)
        raise errors.Unavailable(f"{self.url} does not answer", url=self.url)


class _Pieces:
    """A file's bytes in pieces, from the start each time that they are asked for: a request may be repeated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece


def _part(text: str) -> str:
    """A name as one segment of an address, whatever is in it."""
    if text in ("", ".", ".."):
        raise errors.BadInput(f"{text!r} is no name")
    return quote(text, safe="")


def _read(content: bytes) -> Any:
    try:
        return _record_of(msgspec.json.decode(content))
    except msgspec.DecodeError as error:
        raise errors.Unavailable("the answer is not JSON: this is no control plane of Flyball") from error


def _record_of(value: Any) -> Any:
    if isinstance(value, list):
        return [_record_of(item) for item in value]
    if isinstance(value, dict):
        return Record({name: _member(name, item) for name, item in value.items()})
    return value


def _member(name: str, value: Any) -> Any:
    if name in _AS_WRITTEN:
        return value
    if isinstance(value, str) and (name in ("at", "start", "end", "model_time") or name.endswith("_at")):
        return _moment(value)
    return _record_of(value)


def _moment(text: str) -> datetime | str:
    try:
        return parse_moment(text)
    except ValueError:
        return text


def _error(status: int, content: bytes, told_by: str) -> errors.FlyballError:
    """The error that the server's problem document tells of, in the class it has there."""
    try:
        problem = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    code = str(problem.get("code", "error"))
    facts = problem.get("facts")
    kind = errors.find_class(code)
    if kind is None or kind is errors.FlyballError:
        kind = next((k for s, k in _BRANCHES if s == status), errors.FlyballError)
    # Classes have constructors of their own; what this error says was written on the other side.
    error = kind.__new__(kind)
    error.code = code
    message = told_by + str(problem.get("detail") or f"the control plane answered {status}")
    errors.FlyballError.__init__(error, message)
    error.facts = facts if isinstance(facts, dict) else {}
    return error
