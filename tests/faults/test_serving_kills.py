"""SIGKILL under load: what was acknowledged is in the log, once; what was not touched goes on."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from contextlib import suppress

from flyball_tests_serving import MODEL, ROW, Bundles, ModelServer, wait_until


class Client(threading.Thread):
    """Asks one row after the other under ids of its own; a broken connection is opened again and asked again."""

    def __init__(self, server: ModelServer, number: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}
        self.refused: list[str] = []
        self.broken = 0
        self.ending = threading.Event()
        self._server = server
        self._number = number

    def run(self) -> None:
        connection = self._connect()
        turn = 0
        while not self.ending.is_set():
            client_id = f"{self._number}-{turn}"
            try:
                connection.request(
                    "POST",
                    f"/v1/models/{MODEL}/predict",
                    json.dumps({"rows": [ROW], "ids": [client_id]}),
                    {"Content-Type": "application/json"},
                )
                response = connection.getresponse()
                content = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                time.sleep(0.01)
                connection = self._connect()
                continue
            if response.status == 200:
                self.acknowledged[client_id] = content["prediction_ids"][0]
                turn += 1
            else:
                self.refused.append(f"{response.status} {content}")
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)


def run_clients(server: ModelServer, count: int = 6) -> list[Client]:
    clients = [Client(server, number) for number in range(count)]
    for client in clients:
        client.start()
    return clients


def end(clients: list[Client]) -> None:
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join()


def acknowledged(clients: list[Client]) -> set[str]:
    return {prediction_id for client in clients for prediction_id in client.acknowledged.values()}


def test_a_killed_worker_loses_no_acknowledged_prediction_and_the_other_one_goes_on(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(workers=2)
    chance = random.Random(7)
    clients = run_clients(model_server)
    for _ in range(2):
        time.sleep(0.2 + chance.random() * 0.3)
        status = model_server.status()
        assert status is not None
        victim = chance.choice([worker for worker in status["workers"] if worker["pid"]])
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(
            lambda gone=victim["pid"]: all(
                w["pid"] not in (None, gone) for w in (model_server.status() or {})["workers"]
            ),
            8,
            "a new worker",
        )
    time.sleep(0.3)
    end(clients)
    model_server.stop()
    sent = acknowledged(clients)
    assert len(sent) > 100
    assert [line for client in clients for line in client.refused] == []
    logged = [record.id for record in model_server.predictions()]
    assert sent - set(logged) == set()
    # A kill between record and answer leaves a record the client asked for again: at most one per broken connection.
    assert len(logged) - len(sent) <= sum(client.broken for client in clients) + len(clients)
    assert list((model_server.home / "spool").glob("*.open")) == []


def test_the_shipper_killed_again_and_again_delivers_every_segment_once(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(FLYBALL_SEGMENT_SECONDS="0.05")
    chance = random.Random(11)
    clients = run_clients(model_server, 2)
    for _ in range(8):
        time.sleep(chance.random() * 0.3)
        status = model_server.status()
        assert status is not None
        with suppress(ProcessLookupError):  # it may just have been noticed dead
            if status["shipper"]:
                os.kill(status["shipper"], signal.SIGKILL)
    end(clients)
    model_server.stop()
    assert list((model_server.home / "spool").iterdir()) == []
    logged = [record.id for record in model_server.predictions()]
    assert len(logged) == len(set(logged))
    assert set(logged) == acknowledged(clients)


def test_sigterm_under_load_finishes_what_was_begun_and_flushes_the_log(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(workers=2)
    clients = run_clients(model_server)
    time.sleep(0.5)
    for client in clients:
        client.ending.set()
    assert model_server.stop() == 0
    end(clients)
    logged = {record.id for record in model_server.predictions()}
    assert acknowledged(clients) - logged == set()
    assert list((model_server.home / "spool").iterdir()) == []
    assert [line for client in clients for line in client.refused] == []


def test_a_killed_supervisor_loses_nothing_and_the_next_one_goes_on(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(workers=2)
    clients = run_clients(model_server, 3)
    time.sleep(0.4)
    assert model_server.process is not None
    model_server.process.kill()
    model_server.process.wait()
    model_server.start(workers=2, port=model_server.port)
    before = len(acknowledged(clients))
    wait_until(lambda: len(acknowledged(clients)) > before + 20, what="answers of the new server")
    end(clients)
    model_server.stop()
    assert acknowledged(clients) - {record.id for record in model_server.predictions()} == set()
