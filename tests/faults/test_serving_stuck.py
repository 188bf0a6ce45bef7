"""A worker that hangs is replaced while the other one answers; one that only takes its time is left alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time

from flyball_tests_serving import MODEL, ROW, TROUBLE, Bundles, ModelServer, is_running

from flyball.core.project import ServeSection


def workers_of(server: ModelServer) -> dict[int, int]:
    """Process by slot."""
    status = server.status()
    assert status is not None
    return {worker["slot"]: worker["pid"] for worker in status["workers"]}


def ask(server: ModelServer, seconds: float = 5.0) -> list[str]:
    """Ids of an answered prediction; none when the connection is one that nobody answers in time."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds)
    try:
        connection.request("POST", f"/v1/models/{MODEL}/predict", json.dumps({"rows": [ROW]}))
        content = json.loads(connection.getresponse().read())
        return list(content["prediction_ids"])
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()


def test_a_stopped_worker_is_killed_and_replaced_while_the_other_one_answers(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(workers=2, FLYBALL_WORKER_HANG_SECONDS="4")
    answered = [i for _ in range(20) for i in ask(model_server)]
    assert len(answered) == 20
    before = workers_of(model_server)
    os.kill(before[0], signal.SIGSTOP)
    stopped = time.monotonic()
    meanwhile = []
    while (now := workers_of(model_server))[0] in (before[0], None):
        meanwhile += ask(model_server, 0.3)
        assert time.monotonic() - stopped < 60, model_server.log
    assert meanwhile, "the other worker did not answer"
    assert (now[1], is_running(before[0])) == (before[1], False)
    assert "its event loop is stuck" in model_server.log
    model_server.wait_ready()
    afterwards = [i for _ in range(20) for i in ask(model_server)]
    assert len(afterwards) == 20
    model_server.stop()
    assert {*answered, *meanwhile, *afterwards} <= {record.id for record in model_server.predictions()}


def test_a_worker_with_a_long_request_and_a_model_that_loads_is_not_stuck(
    model_server: ModelServer, bundles: Bundles
):
    hanging = (1, bundles.custom("hang"))
    model_server.publish(1, champion=hanging, serve=ServeSection(deadline="7s"))
    model_server.start(FLYBALL_WORKER_HANG_SECONDS="5")
    before = workers_of(model_server)
    statuses: list[int] = []
    asking = threading.Thread(
        target=lambda: statuses.append(model_server.predict(MODEL, [TROUBLE]).status), daemon=True
    )
    asking.start()
    model_server.publish(2, champion=(2, bundles.custom("none", 2.0)), previous=hanging)
    model_server.wait_revision(MODEL, 2)
    asking.join(30)
    assert statuses == [503]
    assert workers_of(model_server) == before
    assert model_server.status()["workers"][0]["restarts"] == 0
