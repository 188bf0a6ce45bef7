"""One suite for durable workflows on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.db.database import Database
from flyball.backends.db.heartbeats import new_executor_id
from flyball.backends.workflows.engine import WorkflowContext, WorkflowEngine
from flyball.core.errors import (
    BadInput,
    Conflict,
    DatabaseBusy,
    FlyballError,
    VersionNotFound,
    WorkflowCancelled,
    WorkflowNotFound,
    WorkflowTimeout,
)

Launch = Callable[..., WorkflowEngine]


@pytest.fixture
def launch(database: Database) -> Iterator[Launch]:
    """Launches an engine with workflows by name; one at a time."""
    launched: list[WorkflowEngine] = []

    def launch(**workflows: Any) -> WorkflowEngine:
        for engine in launched:
            engine.shutdown()
        engine = WorkflowEngine(database.open_workflow_engine(), new_executor_id())
        for name, function in workflows.items():
            engine.register(name, function)
        engine.launch()
        launched.append(engine)
        return engine

    yield launch
    for engine in launched:
        engine.shutdown()


def wait_until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_workflow_gives_its_value_and_its_steps_run_once(launch: Launch) -> None:
    made: list[str] = []

    def work(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        doubled = context.step("double", lambda x: made.append("double") or x * 2, payload["x"])
        return {"sum": context.step("add", lambda: doubled + 1), "id": context.workflow_id}

    engine = launch(work=work)
    engine.start("work", {"x": 4}, "one")
    assert engine.wait("one", 10).unwrap() == {"sum": 9, "id": "one"}
    engine.start("work", {"x": 5}, "one")
    assert engine.wait("one", 10).unwrap() == {"sum": 9, "id": "one"}
    assert made == ["double"]
    status = engine.status("one")
    assert status is not None
    assert (status.state, status.name, status.executor_id) == ("succeeded", "work", engine.executor_id)
    assert engine.list_unfinished() == []


def test_a_result_can_be_read_by_a_later_process(launch: Launch) -> None:
    engine = launch(work=lambda context, payload: {"nothing": None, "list": [1, 2.5, "é", {"a": True}]})
    engine.start("work", {}, "one")
    before = engine.wait("one", 10)
    assert launch().wait("one", 10) == before


def test_an_error_of_ours_comes_back_as_itself(launch: Launch) -> None:
    def fail() -> None:
        raise VersionNotFound("bike", 7)

    def work(context: WorkflowContext, payload: dict[str, Any]) -> None:
        context.step("fail", fail)

    engine = launch(work=work)
    engine.start("work", {}, "one")
    results = [engine.wait("one", 10), launch().wait("one", 10)]
    for result in results:
        assert result.state == "failed"
        with pytest.raises(VersionNotFound, match="bike has no version 7") as caught:
            result.unwrap()
        assert caught.value.facts == {"model": "bike", "ref": "7"}


def test_a_failed_step_raises_the_same_in_the_next_process_and_is_not_tried_again(launch: Launch) -> None:
    tried: list[int] = []
    go = threading.Event()

    def fail() -> None:
        tried.append(1)
        raise VersionNotFound("bike", 7)

    def work(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            context.step("fail", fail)
        except VersionNotFound as error:
            caught = [error.code, error.facts]
        while not go.is_set():
            context.pause(0.05)
        return {"caught": caught}

    engine = launch(work=work)
    engine.start("work", {}, "one")
    wait_until(lambda: tried)
    engine.shutdown()
    go.set()
    after = launch(work=work)
    after.take_over([engine.executor_id])
    assert after.wait("one", 10).unwrap() == {"caught": ["version_not_found", {"model": "bike", "ref": "7"}]}
    assert tried == [1]


def test_any_other_error_is_told_as_internal(launch: Launch, caplog: pytest.LogCaptureFixture) -> None:
    def work(context: WorkflowContext, payload: dict[str, Any]) -> None:
        raise ZeroDivisionError("by nothing")

    engine = launch(work=work)
    engine.start("work", {}, "one")
    with pytest.raises(FlyballError, match="ZeroDivisionError: by nothing") as caught:
        engine.wait("one", 10).unwrap()
    assert caught.value.code == "internal"
    assert "by nothing" in caplog.text


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, object(), {"x": float("nan")}, {1, 2}, b"bytes"])
def test_a_step_that_gives_no_json_is_refused(launch: Launch, value: Any) -> None:
    engine = launch(work=lambda context, payload: {"x": context.step("odd", lambda: value)})
    engine.start("work", {}, "one")
    with pytest.raises(BadInput, match="plain JSON"):
        engine.wait("one", 10).unwrap()
    with pytest.raises(BadInput, match="plain JSON"):
        engine.start("work", {"x": value}, "two")
    assert engine.status("two") is None


def test_a_store_that_does_not_answer_is_asked_again(launch: Launch) -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) < 3:
            raise DatabaseBusy("locked")
        return len(asked)

    engine = launch(work=lambda context, payload: {"asked": context.step("ask", ask)})
    engine.start("work", {}, "one")
    assert engine.wait("one", 20).unwrap() == {"asked": 3}


def test_unknown_names_and_ids_are_told(launch: Launch) -> None:
    engine = launch(work=lambda context, payload: None)
    with pytest.raises(BadInput, match="no workflow 'play'"):
        engine.start("play", {}, "one")
    with pytest.raises(WorkflowNotFound):
        engine.wait("never", 1)
    assert engine.status("never") is None
    engine.cancel("never")
    with pytest.raises(Conflict):
        engine.register("late", lambda context, payload: None)


def test_a_cancelled_workflow_ends_before_its_next_step(launch: Launch) -> None:
    made: list[int] = []

    def work(context: WorkflowContext, payload: dict[str, Any]) -> None:
        context.step("first", lambda: made.append(1))
        context.sleep(600)
        context.step("second", lambda: made.append(2))

    engine = launch(work=work)
    engine.start("work", {}, "one")
    wait_until(lambda: made)
    with pytest.raises(WorkflowTimeout):
        engine.wait("one", 0.05)
    engine.cancel("one")
    with pytest.raises(WorkflowCancelled):
        engine.wait("one", 10).unwrap()
    engine.shutdown()
    assert made == [1]


def test_a_shutdown_leaves_work_unfinished_and_the_next_process_ends_it(launch: Launch) -> None:
    made: list[str] = []
    go = threading.Event()

    def work(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        context.step("first", lambda: made.append("first"))
        while not go.is_set():
            context.pause(0.05)
        return {"second": context.step("second", lambda: made.append("second") or 2)}

    engine = launch(work=work)
    engine.start("work", {}, "one")
    wait_until(lambda: made)
    began = time.monotonic()
    engine.shutdown()
    assert time.monotonic() - began < 3
    go.set()
    after = launch(work=work)
    assert [found.workflow_id for found in after.list_unfinished("work")] == ["one"]
    assert after.take_over([engine.executor_id]) == ["one"]
    assert after.take_over([engine.executor_id]) == []
    assert after.wait("one", 10).unwrap() == {"second": 2}
    assert made == ["first", "second"]


def test_a_step_that_fails_because_its_process_ends_is_made_again(launch: Launch) -> None:
    began: list[int] = []
    ended = threading.Event()

    def step() -> int:
        began.append(1)
        if len(began) == 1:
            ended.wait(10)
            raise WorkflowCancelled("its child was ended")
        return len(began)

    engine = launch(work=lambda context, payload: {"attempt": context.step("step", step)})
    engine.start("work", {}, "one")
    wait_until(lambda: began)
    engine.shutdown(end_children=ended.set)
    after = launch(work=lambda context, payload: {"attempt": context.step("step", step)})
    assert after.take_over([engine.executor_id]) == ["one"]
    assert after.wait("one", 10).unwrap() == {"attempt": 2}


def test_work_is_not_taken_over_by_a_process_that_does_not_know_it(launch: Launch) -> None:
    def wait(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        while not Path(payload["go"]).exists():
            context.pause(0.05)
        return {"done": True}

    engine = launch(wait=wait)
    engine.start("wait", {"go": "/"}, "done")
    engine.wait("done", 10)
    engine.start("wait", {"go": "/nowhere"}, "one")
    stranger = launch(other=lambda context, payload: None)
    assert stranger.take_over([engine.executor_id]) == ["one"]
    time.sleep(2.5)  # more than two looks into its queues
    assert [found.state for found in stranger.list_unfinished()] == ["pending"]
    knower = launch(wait=lambda context, payload: {"done": "by another"})
    assert knower.wait("one", 10).unwrap() == {"done": "by another"}


def test_a_sleep_ends_at_its_moment_even_if_the_process_was_restarted(launch: Launch) -> None:
    def work(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        context.sleep(3)
        return {"until": context.step("now", time.time)}

    engine = launch(work=work)
    began = time.time()
    engine.start("work", {}, "one")
    time.sleep(0.3)
    after = launch(work=work)
    after.take_over([engine.executor_id])
    woke = after.wait("one", 20).unwrap()
    assert woke is not None
    assert 2.9 < woke["until"] - began < 6


def test_questions_within_a_workflow_are_not_recorded_as_steps(launch: Launch) -> None:
    engines: list[WorkflowEngine] = []

    def child(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        return {"child": context.step("one", lambda: 1)}

    def parent(context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        context.step("start", lambda: engines[0].start("child", {}, "child"))
        return {"of": engines[0].wait("child", 10).unwrap(), "two": context.step("two", lambda: 2)}

    engines.append(launch(child=child, parent=parent))
    engines[0].start("parent", {}, "parent")
    assert engines[0].wait("parent", 10).unwrap() == {"of": {"child": 1}, "two": 2}
