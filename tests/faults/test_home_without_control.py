"""The model server alone: without control plane, without object store, and started again without either."""

from __future__ import annotations

import os
import signal
import sys
import time

history = sys.modules["flyball_tests_history"]


def kill_server(whole) -> None:
    for pid in [*whole.pids("serving.supervisor"), *whole.pids("serving.worker")]:
        os.kill(pid, signal.SIGKILL)
    whole.wait(lambda: whole.predict()[0] is None, "the end of the model server")


def test_a_model_server_needs_neither_control_plane_nor_object_store(served):
    served.up()
    objects, away = served.home / "objects", served.home / "away"
    with history.Clients(served, predicting=2) as clients:
        time.sleep(0.5)
        control = served.pids("web.server")[0]
        os.kill(control, signal.SIGSTOP)
        time.sleep(0.7)
        served.up_process.kill()
        served.up_process.wait()
        os.kill(control, signal.SIGCONT)
        served.wait(lambda: served.pids("web.server") == [], "the end of the control plane")
        objects.rename(away)
        time.sleep(0.7)
    assert {act.status for act in clients.journal.acts} <= {200, 422}
    assert len(clients.journal.told("predict")) > 100

    kill_server(served)
    alone = served.start("serve", "--port", str(served.serve_port))
    served.wait(lambda: served.predict()[0] is not None, "the model server, from its cache", seconds=15)
    assert served.predict()[0] == 2
    os.kill(served.pids("serving.worker")[0], signal.SIGKILL)
    served.wait(lambda: served.predict()[0] == 2, "the worker, from its cache", seconds=10)
    asked = [served.predict()[1] for _ in range(50)]

    assert not objects.exists(), "somebody made an empty store where there was one"
    away.rename(objects)
    served.up()
    assert served.pids("serving.supervisor") == [alone.pid]
    served.settle()
    assert history.check_history(served, clients.journal) == []
    answers = [served.call(served.port, "GET", f"/api/v1/predictions/{i}") for i in asked[::10]]
    assert [(status, found["version"]) for status, found in answers] == [(200, 2)] * 5


def test_a_decision_made_while_the_store_is_away_stands_and_is_published_later(served):
    served.up()
    objects, away = served.home / "objects", served.home / "away"
    objects.rename(away)
    path = "/api/v1/models/plant/rollback"
    status, answer = served.call(served.port, "POST", path, {"why": "the store is away"}, key="once")
    assert (status, answer["champion"]) == (200, 1)
    assert served.call(served.port, "POST", path, {"why": "the store is away"}, key="once") == (200, answer)
    assert "waits for a controller" in served.flyball("doctor", allow=(1,))
    assert served.predict()[0] == 2
    assert not objects.exists()
    away.rename(objects)
    served.wait(lambda: served.predict()[0] == 1, "the decision in force", seconds=10)
    served.settle()
    assert history.check_history(served, history.Journal()) == []
