"""More than can be answered, slower than can be waited for: refused at once, with the time to come back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from flyball_tests_serving import MODEL, ROW, TROUBLE, Bundles, ModelServer

from flyball.core.project import ServeSection
from flyball.data.spool import SpoolWriter, read_segment
from flyball.registry.route_table import find_next
from flyball.serving import fast_path, outcomes, predict
from flyball.serving.asgi import Application
from flyball.serving.bundles import fetch_bundle, open_local, read_facts
from flyball.serving.journal import Journal
from flyball.serving.metrics import WorkerMetrics
from flyball.serving.options import ServeOptions
from flyball.serving.predict import Predictions
from flyball.serving.served import Served, ServedModels, Version
from flyball.serving.server import build_application


class InProcess:
    """A worker's application around one loaded model, without its processes."""

    def __init__(self, server: ModelServer, folder: Path) -> None:
        self.folder = folder
        blobs = server.blobs
        table = find_next(blobs, MODEL, 0)
        assert table is not None and table.champion is not None
        bundle = fetch_bundle(table.champion.bundle, lambda: blobs, folder)
        facts = read_facts(bundle, table.champion.bundle)
        metrics = WorkerMetrics(folder / "metrics", 0)
        champion = Version(1, facts, local=open_local(bundle, table.champion.bundle))
        served = Served(
            table, champion=champion, candidate=None, shadow=None, hash_key=b"k" * 32, metrics=metrics
        )
        self.spool = SpoolWriter(folder / "spool", "worker")
        journal = Journal(self.spool)
        models = ServedModels({MODEL: served})
        self.predictions = Predictions(models, journal, 2.0)
        self.application: Application = build_application(
            models, journal, metrics, ServeOptions(), self.predictions
        )

    async def listen(self) -> tuple[asyncio.AbstractServer, int]:
        protocol = fast_path.protocol_class(self.application, self.predictions)
        config = uvicorn.Config(self.application, http=protocol, ws="none", lifespan="off", log_config=None)
        config.load()
        state = uvicorn.Server(config).server_state
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        return server, server.sockets[0].getsockname()[1]


@pytest.fixture
def inside(model_server: ModelServer, bundles: Bundles, tmp_path: Path):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    worker = InProcess(model_server, tmp_path / "inside")
    yield worker
    worker.spool.close()


async def talk(port: int, *sent: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in sent:
        writer.write(part)
        await writer.drain()
    data = await reader.read()
    writer.close()
    return data


def asking(rows: list[dict[str, Any]]) -> bytes:
    """A request about rows, on a connection that it ends."""
    body = json.dumps({"rows": rows}).encode()
    head = b"POST /v1/models/rides/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_beyond_what_is_in_flight_requests_are_refused_with_the_time_to_come_back(
    inside: InProcess, monkeypatch: pytest.MonkeyPatch
):
    async def story() -> tuple[bytes, bytes]:
        server, port = await inside.listen()
        async with server, asyncio.timeout(5):
            fine = await talk(port, asking([ROW]))
            monkeypatch.setattr(predict, "IN_FLIGHT_LIMIT", 0)
            return fine, await talk(port, asking([ROW]))

    fine, refused = asyncio.run(story())
    assert fine.startswith(b"HTTP/1.1 200")
    assert refused.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 1" in refused


def test_a_model_that_does_not_answer_in_time_is_a_503_for_each_who_waits(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.custom("hang", 5.0)), serve=ServeSection(deadline="2s"))
    model_server.start()
    statuses: Counter[int] = Counter()

    def ask() -> None:
        answer = model_server.predict(MODEL, [TROUBLE])
        statuses[answer.status] += answer.headers.get("retry-after") is not None

    # One after the other, the last of them would wait for longer than its client does (30 s).
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {503: 20}


def test_many_rows_are_predicted_beside_and_do_not_hold_up_others(
    inside: InProcess, monkeypatch: pytest.MonkeyPatch
):
    champion = inside.predictions._models[MODEL].champion
    assert champion is not None and champion.local is not None
    predict_all, many = champion.local.predict, 10_000
    begun, small_is_answered, in_time = threading.Event(), threading.Event(), []

    def predict_after_the_small_one(rows: Sequence[dict[str, Any]]) -> Any:
        if len(rows) == many:
            begun.set()
            in_time.append(small_is_answered.wait(10))
        return predict_all(rows)

    monkeypatch.setattr(champion.local, "predict", predict_after_the_small_one)
    monkeypatch.setattr(inside.predictions._models[MODEL], "deadline_seconds", 60.0)

    async def story() -> tuple[bytes, bytes]:
        server, port = await inside.listen()
        async with server, asyncio.timeout(60):
            long = asyncio.create_task(talk(port, asking([ROW] * many)))
            await asyncio.to_thread(begun.wait, 30)
            small = await talk(port, asking([ROW]))
            small_is_answered.set()
            return small, await long

    small, long = asyncio.run(story())
    assert (small[9:12], long[9:12]) == (b"200", b"200")
    assert in_time == [True]
    assert len(set(json.loads(long.partition(b"\r\n\r\n")[2])["predictions"])) == 1


def asked_of(path: str, body: bytes) -> bytes:
    """A request with a body, on a connection that it ends."""
    head = b"POST /v1/models/rides/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % path.encode()
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


EMPTY_LISTS = b",".join([b"[]"] * 3_000_000)
MANY_FIELDS = b",".join(b'"%d":1' % number for number in range(800_000))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("predict", b'{"columns":[],"data":[%s]}' % EMPTY_LISTS, b"413"),
        ("predict", b'{"rows":[{%s}]}' % MANY_FIELDS, b"422"),
        ("outcomes", b'{"outcomes":[%s]}' % EMPTY_LISTS, b"413"),
    ],
    ids=["empty lists", "many fields", "outcomes"],
)
def test_a_body_of_far_too_much_becomes_no_objects_and_holds_up_nobody(
    inside: InProcess, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, status: bytes
):
    def decode(_data: bytes) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(predict, "decode_predict", decode)
    monkeypatch.setattr(outcomes, "decode_outcomes", decode)

    async def story() -> bytes:
        server, port = await inside.listen()
        async with server, asyncio.timeout(30):
            return await talk(port, asked_of(path, body))

    assert asyncio.run(story())[9:12] == status


@pytest.mark.parametrize("limit", [predict.LONG_MICROSECONDS, 0], ids=["in one turn", "by itself"])
def test_our_own_mistake_is_a_500_for_each_client_and_nobody_waits_for_ever(
    inside: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: int
):
    def mistaken(_job: object) -> None:
        raise RuntimeError("as if by mistake")

    monkeypatch.setattr(predict, "LONG_MICROSECONDS", limit)
    respond = predict.respond
    monkeypatch.setattr(predict, "respond", mistaken)
    first, second = ask_twice(inside)
    assert {first[9:12], second[9:12]} == {b"500"}
    assert b'"internal"' in first
    assert b"mistake" not in first
    assert "as if by mistake" in caplog.text
    monkeypatch.setattr(predict, "respond", respond)
    assert {answer[9:12] for answer in ask_twice(inside)} == {b"200"}


@pytest.mark.parametrize("limit", [predict.LONG_MICROSECONDS, 0], ids=["in one turn", "by itself"])
def test_a_model_that_raises_in_the_worker_is_a_500_with_its_words_and_a_record(
    inside: InProcess, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch, limit: int
):
    class Unfit(ArithmeticError):
        """What a library may raise that nobody here knows."""

    def raising(_rows: object) -> None:
        raise Unfit("no such leaf")

    monkeypatch.setattr(predict, "LONG_MICROSECONDS", limit)
    champion = inside.predictions._models[MODEL].champion
    assert champion is not None
    monkeypatch.setattr(champion.local, "predict", raising)
    first, _ = ask_twice(inside)
    assert first.startswith(b"HTTP/1.1 500")
    assert b"prediction_failed" in first
    assert b"no such leaf" in first
    inside.spool.close()
    (segment, *_) = (inside.folder / "spool").iterdir()
    records = read_segment(segment.read_bytes()).records
    assert [(record.answered, "no such leaf" in record.error) for record in records] == [(None, True)] * 2


def ask_twice(inside: InProcess) -> tuple[bytes, bytes]:
    """The answers to two requests that arrive together."""

    async def story() -> tuple[bytes, bytes]:
        server, port = await inside.listen()
        async with server, asyncio.timeout(5):
            first, second = await asyncio.gather(talk(port, asking([ROW])), talk(port, asking([ROW])))
        return first, second

    return asyncio.run(story())
