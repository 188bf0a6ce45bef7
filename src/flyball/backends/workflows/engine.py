"""Durable workflows: the one module that knows dbos.

A workflow is a function whose steps are recorded. Killed at any point, it goes on after its last finished step, in
whichever live process has it registered. How dbos is held, and why:

- Every process has an executor id of its own. With a shared id, a second process takes a running workflow over.
- The application version is fixed: the default, a hash of source, orphans all work at every upgrade.
- Values are JSON. The default is pickle, which lets whoever can write a row run code.
- Taken-over work goes through one queue per workflow name, and a process listens only to the names it has
  registered: an executor that picks up a workflow it does not know would leave it pending for good.
- Errors are results. dbos would turn stored exceptions into a class of its own and lose code and facts.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import sqlalchemy as sa

from flyball.backends.workflows.context import Stopping, WorkflowContext
from flyball.backends.workflows.outcome import WorkflowError, check_plain, rebuilt, recorded
from flyball.backends.workflows.outside import list_found, outside
from flyball.core.errors import (
    BadInput,
    Conflict,
    WorkflowCancelled,
    WorkflowNotFound,
    WorkflowTimeout,
)

if TYPE_CHECKING:
    from dbos import WorkflowStatus as DbosStatus

__all__ = ["WorkflowContext", "WorkflowEngine", "WorkflowError", "WorkflowResult", "WorkflowStatus"]

Function = Callable[[WorkflowContext, dict[str, Any]], dict[str, Any] | None]
State = Literal["pending", "succeeded", "failed", "cancelled"]

# Raise it when a running workflow of an older release can't be continued by this one.
_APPLICATION_VERSION = "1"
_SCHEMA = "flyball_workflows"
_QUEUE = "flyball-{name}"
_POLL_SECONDS = 1.0
# Taken-over workflows of one name that a process works at; ten crashes must not become ten trainings.
_AT_ONCE = 2
_TAKE_OVER_LOCK = 0x666C79746F  # "flyto": PostgreSQL's advisory lock for taking work over
_UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]


class WorkflowStatus(msgspec.Struct, frozen=True):
    """Where a workflow stands; `executor_id` is the process that runs or ran it last."""

    workflow_id: str
    name: str
    state: State
    executor_id: str


class WorkflowResult(msgspec.Struct, frozen=True):
    """How a workflow ended."""

    state: State
    value: dict[str, Any] | None = None
    error: WorkflowError | None = None

    def unwrap(self) -> dict[str, Any] | None:
        """The value; raises the workflow's own error if it failed, WorkflowCancelled if it was cancelled."""
        if self.state == "cancelled":
            raise WorkflowCancelled("the workflow was cancelled; start it again if that was a mistake")
        if self.error is not None:
            raise rebuilt(self.error)
        return self.value


class WorkflowEngine:
    """This process's executor of workflows. One per process, since dbos keeps itself in globals."""

    def __init__(self, engine: sa.Engine, executor_id: str) -> None:
        """engine: from `Database.open_workflow_engine()`; executor_id: a fresh one, with a heartbeat that has begun."""
        self.executor_id = executor_id
        self._engine = engine
        self._functions: dict[str, Function] = {}
        self._wrapped: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self._stopping = threading.Event()
        self._launched = False
        self._running = 0
        self._idle = threading.Condition()

    def register(self, name: str, function: Function) -> None:
        """Name a workflow. Before `launch`; in every process that is to start it or take it over."""
        if self._launched:
            raise Conflict(f"workflow {name} was registered after the engine was launched", name=name)
        self._functions[name] = function

    def launch(self) -> None:
        """Begin to execute: what is started here, and what others left behind and somebody took over."""
        # A thread has no running event loop, a notebook's caller has one, and there dbos refuses.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._launch).result()

    def _launch(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        # Below ERROR it invites to a console of its vendor; a cancelled workflow is no error.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        logging.getLogger("dbos").addFilter(_is_no_cancellation)
        DBOS(
            config={
                "name": "flyball",
                "system_database_engine": self._engine,
                "dbos_system_schema": _SCHEMA,
                "application_version": _APPLICATION_VERSION,
                "executor_id": self.executor_id,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "ERROR",
                "use_listen_notify": False,
                # How long `shutdown` may have to wait for the listener's thread.
                "notification_listener_polling_interval_sec": 0.5,
            }
        )
        for name, function in self._functions.items():
            self._wrapped[name] = DBOS.workflow(name=name)(self._recording(name, function))
        DBOS.listen_queues([_QUEUE.format(name=name) for name in self._functions])
        DBOS.launch()
        for name in self._functions:
            DBOS.register_queue(
                _QUEUE.format(name=name), polling_interval_sec=_POLL_SECONDS, worker_concurrency=_AT_ONCE
            )
        self._launched = True

    def start(self, name: str, payload: dict[str, Any], workflow_id: str) -> None:
        """Start a workflow in this process. Returns once that is recorded; an id that was used before: nothing.

        Raises BadInput for a name that is not registered here, or a payload that is not JSON.
        """
        from dbos import DBOS, SetWorkflowID

        if name not in self._wrapped:
            raise BadInput(f"no workflow {name!r} is registered in this process", name=name)
        check_plain(payload, f"the payload of {name}")

        def begin() -> None:
            with SetWorkflowID(workflow_id):
                DBOS.start_workflow(self._wrapped[name], payload)

        outside(begin)

    def wait(self, workflow_id: str, timeout_seconds: float | None = None) -> WorkflowResult:
        """How a workflow ends, wherever it runs. Raises WorkflowNotFound, WorkflowTimeout (it goes on)."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = 0.01
        while True:
            found = self._find(workflow_id)
            if found is None:
                raise WorkflowNotFound(f"there is no workflow {workflow_id}", workflow_id=workflow_id)
            if found.status not in _UNFINISHED:
                return _result(found)
            if deadline is not None and time.monotonic() >= deadline:
                raise WorkflowTimeout(
                    f"workflow {workflow_id} has not ended within {timeout_seconds} s; it goes on",
                    workflow_id=workflow_id,
                )
            time.sleep(pause)
            pause = min(0.5, pause * 1.3)

    def status(self, workflow_id: str) -> WorkflowStatus | None:
        """Where a workflow stands; None if there is none of this id."""
        found = self._find(workflow_id)
        return None if found is None else _status(found)

    def list_unfinished(self, name: str | None = None) -> list[WorkflowStatus]:
        """The workflows that have not ended (of one name), oldest first."""
        return [_status(found) for found in list_found(status=_UNFINISHED, name=name, load_output=False)]

    def take_over(self, dead_executor_ids: Collection[str]) -> list[str]:
        """Hand the unfinished work of dead processes to live ones that have it registered; the workflows' ids.

        Finished steps are not repeated. Call it with executors that are proven dead.
        """
        from dbos import DBOS

        if not dead_executor_ids:
            return []
        taken = []
        with self._alone():
            # Looked up under the lock: whatever another process took over a moment ago has a live executor by now,
            # or waits in its queue as ENQUEUED, where any live process finds it.
            for found in list_found(status="PENDING", executor_id=list(dead_executor_ids), load_output=False):
                queue = _QUEUE.format(name=found.name)
                outside(partial(DBOS.resume_workflow, found.workflow_id, queue_name=queue))
                taken.append(found.workflow_id)
        return taken

    def cancel(self, workflow_id: str) -> None:
        """Let a workflow end before its next step. Ended or unknown ones stay as they are."""
        from dbos import DBOS

        if self._find(workflow_id) is not None:
            outside(partial(DBOS.cancel_workflow, workflow_id))

    def shutdown(self, wait_seconds: float = 5.0, end_children: Callable[[], object] | None = None) -> None:
        """Execute no more. Workflows that do not end in time stop at their next step, unfinished, for others.

        end_children: ends the processes that steps wait for, so that nothing has to be waited for;
        `executors.local.end_children` does.
        """
        from dbos import DBOS

        if not self._launched:
            return
        self._launched = False
        self._stopping.set()
        if end_children is not None:
            end_children()
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, timeout=wait_seconds)
        DBOS.destroy(destroy_registry=True)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _recording(self, name: str, function: Function) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """The function as dbos runs it: its value or its error as one JSON object."""

        def run(payload: dict[str, Any]) -> dict[str, Any]:
            with self._counted():
                outcome = recorded(f"workflow {name}", function, WorkflowContext(self._stopping), payload)
                if "error" in outcome and self._stopping.is_set():
                    raise Stopping
                return outcome

        run.__name__ = run.__qualname__ = name
        return run

    def _find(self, workflow_id: str) -> DbosStatus | None:
        found = list_found(workflow_ids=[workflow_id])
        return found[0] if found else None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process at a time; the lock goes with its holder."""
        if self._engine.dialect.name == "postgresql":
            with self._engine.begin() as conn:
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_TAKE_OVER_LOCK)))
                yield
            return
        with open(f"{self._engine.url.database}.lock", "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _result(found: DbosStatus) -> WorkflowResult:
    state = _state(found)
    if state == "cancelled":
        return WorkflowResult("cancelled")
    if found.status != "SUCCESS":
        return WorkflowResult("failed", error=WorkflowError("internal", str(found.error), {}))
    output: dict[str, Any] = found.output or {}
    if "error" in output:
        return WorkflowResult("failed", error=msgspec.convert(output["error"], WorkflowError))
    return WorkflowResult("succeeded", value=output.get("value"))


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    from dbos import error as dbos_errors

    return not (
        record.exc_info and isinstance(record.exc_info[1], dbos_errors.DBOSAwaitedWorkflowCancelledError)
    )


def _status(found: DbosStatus) -> WorkflowStatus:
    return WorkflowStatus(found.workflow_id, found.name, _state(found), found.executor_id or "")


def _state(found: DbosStatus) -> State:
    if found.status in _UNFINISHED:
        return "pending"
    if found.status == "CANCELLED":
        return "cancelled"
    if found.status == "SUCCESS" and "error" not in (found.output or {}):
        return "succeeded"
    return "failed"
