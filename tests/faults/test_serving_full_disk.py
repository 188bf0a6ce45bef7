"""No room for the log: answered or refused as the project says, counted, and back to normal without a restart."""

from __future__ import annotations

import resource

import pytest
from flyball_tests_serving import MODEL, ROW, Bundles, ModelServer, wait_until

from flyball.core.project import LogSection

ROOM = 1_200_000  # bytes a file may have; the file of the metrics needs 1 MiB


@pytest.fixture
def cramped(model_server: ModelServer, bundles: Bundles):
    def start(when_full: str) -> ModelServer:
        log = LogSection(when_full=when_full)
        model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), log=log)
        model_server.start(FLYBALL_SEGMENT_SECONDS="3600")
        limit(model_server, ROOM)
        return model_server

    return start


def limit(server: ModelServer, size: int) -> None:
    status = server.status()
    assert status is not None
    pid = status["workers"][0]["pid"]
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def fill(server: ModelServer) -> int:
    """Ask until there is no room; the status of the last answer."""
    for _ in range(60):
        answer = server.predict(MODEL, [ROW] * 200)
        if answer.status != 200 or server.request("GET", "/metrics").data.count(
            b"flyball_log_dropped_total{"
        ):
            metrics = server.request("GET", "/metrics").data.decode()
            dropped = [line for line in metrics.splitlines() if line.startswith("flyball_log_dropped_total{")]
            if dropped and not dropped[0].endswith(" 0"):
                return answer.status
    raise AssertionError("there was always room")


def test_answering_goes_on_without_a_log_and_says_so(cramped):
    server = cramped("answer")
    assert fill(server) == 200
    assert server.predict(MODEL, [ROW] * 200).status == 200
    wait_until(lambda: server.worker_status()["log"]["full"], 5, "the alarm in the status")
    assert server.worker_status()["log"]["dropped"] >= 200


def test_outcomes_are_refused_rather_than_lost(cramped):
    server = cramped("answer")
    fill(server)
    outcomes = [{"prediction_id": "prd_" + "0" * 32, "value": 1.0}] * 3000
    answer = server.request("POST", f"/v1/models/{MODEL}/outcomes", {"outcomes": outcomes})
    assert (answer.status, answer.json["code"]) == (503, "log_full")
    assert answer.headers["retry-after"]


def test_a_project_that_answers_only_what_it_can_log_refuses_and_recovers_with_the_room(cramped):
    server = cramped("refuse")
    assert fill(server) == 503
    answer = server.predict(MODEL, [ROW] * 200)
    assert (answer.status, answer.json["code"]) == (503, "log_full")
    limit(server, 10**9)
    wait_until(lambda: server.predict(MODEL, [ROW] * 200).status == 200, 10, "normal service")
    logged = len(server.predictions())
    assert server.predict(MODEL, [ROW]).status == 200
    assert len(server.predictions()) == logged + 1
    server.stop()
    assert len(server.predictions()) == logged + 1
