"""New routes: adopted without a failed request, kept for a start with nobody else there, refused when broken."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from typing import Any

import pytest
from flyball_tests_serving import MODEL, ROW, Bundles, ModelServer, pack_bundle, wait_until

from flyball.registry.route_table import RouteTable, choose, read_table, route_key


def serve_canary(server: ModelServer, bundles: Bundles, *, workers: int = 1, **fields: Any) -> RouteTable:
    """The route table of a server whose canary, version 2, answers 500 more than the champion."""
    sides = {"champion": (1, bundles.lightgbm(0.0)), "candidate": (2, bundles.lightgbm(500.0))}
    server.publish(1, **sides, candidate_role="canary", **fields)
    server.start(workers=workers)
    table = read_table(server.blobs.get(route_key(MODEL, 1)))
    assert isinstance(table, RouteTable)
    return table


class Traffic:
    """Requests on several kept-alive connections until it is left; what came of each."""

    def __init__(self, server: ModelServer, connections: int = 8) -> None:
        self.answers: list[tuple[float, int, int]] = []
        self.failures: list[str] = []
        self.ids: list[str] = []
        self._server = server
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(connections)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)
        turn = 0
        while not self._ending.is_set():
            turn += 1
            body = json.dumps({"rows": [ROW], "entity": f"{number}-{turn}"})
            try:
                connection.request(
                    "POST", f"/v1/models/{MODEL}/predict", body, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            if response.status != 200:
                self.failures.append(f"{response.status} {data[:200]!r}")
                continue
            content = json.loads(data)
            self.answers.append((time.monotonic(), content["version"], round(content["predictions"][0])))
            self.ids += content["prediction_ids"]
        connection.close()

    def versions(self) -> Counter[int]:
        return Counter(version for _, version, _ in self.answers)


def test_a_new_champion_takes_over_under_load_without_a_failed_request(
    model_server: ModelServer, bundles: Bundles
):
    old, new = (1, bundles.lightgbm(0.0)), (2, bundles.lightgbm(500.0))
    model_server.publish(1, champion=old)
    model_server.start()
    with Traffic(model_server) as traffic:
        wait_until(lambda: len(traffic.answers) > 50, what="traffic")
        model_server.publish(2, champion=new, previous=old)
        wait_until(lambda: traffic.answers[-1][1] == 2, 10, "an answer by version 2")
        model_server.wait_revision(MODEL, 2)
        began = time.monotonic()
        model_server.publish(3, champion=old, previous=new)
        wait_until(lambda: traffic.answers[-1][1] == 1, 10, "the rollback")
        time.sleep(0.3)
    assert traffic.failures == []
    last_of_new = max(at for at, version, _ in traffic.answers if version == 2)
    assert last_of_new - began < 1.0
    assert {(version, value > 400) for _, version, value in traffic.answers} == {(1, False), (2, True)}
    assert Counter(record.id for record in model_server.predictions()) == Counter(traffic.ids)


def test_a_canary_gets_its_share_by_entity_the_same_on_every_worker(
    model_server: ModelServer, bundles: Bundles
):
    table = serve_canary(model_server, bundles, workers=2, share=0.3, entity="rider")
    seen: dict[str, set[int]] = {}
    for turn in range(120):
        entity = f"rider-{turn % 40}"
        answer = model_server.predict(MODEL, [ROW], entity=entity)
        assert answer.status == 200, answer.data
        seen.setdefault(entity, set()).add(answer.json["version"])
    for entity, versions in seen.items():
        assert versions == {2 if choose(table, entity) == "candidate" else 1}, entity
    assert {1, 2} == set.union(*seen.values())
    by_role = Counter((record.role, record.asked, record.answered) for record in model_server.predictions())
    assert by_role.keys() == {("champion", 1, 1), ("candidate", 2, 2)}
    assert sum(by_role.values()) == 120


def test_rows_of_one_request_go_to_the_versions_of_their_entities(
    model_server: ModelServer, bundles: Bundles
):
    table = serve_canary(model_server, bundles, share=0.5)
    entities = [f"e{number}" for number in range(20)]
    content = model_server.predict(MODEL, [ROW] * 20, entity=entities).json
    expected = [2 if choose(table, entity) == "candidate" else 1 for entity in entities]
    assert content["versions"] == expected
    assert content["roles"] == ["candidate" if version == 2 else "champion" for version in expected]
    assert (content["version"], content["role"]) == (1, "champion")
    assert [value > 400 for value in content["predictions"]] == [version == 2 for version in expected]


def test_a_request_that_names_nobody_is_routed_as_a_whole_and_its_records_say_by_what(
    model_server: ModelServer, bundles: Bundles
):
    table = serve_canary(model_server, bundles, share=0.5)
    for _ in range(12):
        model_server.predict(MODEL, [ROW] * 5)
    requests: dict[str | None, list[int]] = {}
    for record in model_server.predictions():
        requests.setdefault(record.request_id, []).append(record.asked)
    assert len(requests) == 12
    for key, asked in requests.items():
        assert key is not None
        assert asked == [2 if choose(table, key) == "candidate" else 1] * 5


def test_a_shadow_is_logged_under_the_same_id_and_never_answers(model_server: ModelServer, bundles: Bundles):
    model_server.publish(
        1,
        champion=(1, bundles.lightgbm(0.0)),
        candidate=(2, bundles.lightgbm(500.0)),
        candidate_role="shadow",
    )
    model_server.start()
    for turn in range(30):
        assert model_server.predict(MODEL, [ROW], ids=[f"r{turn}"]).json["version"] == 1
    wait_until(lambda: len(model_server.predictions("shadow")) == 30, what="the shadow's answers")
    champions = {record.id: record for record in model_server.predictions("champion")}
    for record in model_server.predictions("shadow"):
        assert (record.asked, record.answered, record.error) == (2, 2, None)
        assert record.output - champions[record.id].output == pytest.approx(500, abs=1)
        assert (record.at, record.input) == (champions[record.id].at, champions[record.id].input)


def test_it_starts_from_its_cache_with_the_object_store_gone_and_logs_for_later(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start()
    kept = model_server.home / "cache" / "routes" / f"{MODEL}.json"
    wait_until(kept.exists, what="the kept route")
    model_server.stop()
    objects = model_server.home / "objects"
    shutil.move(objects, model_server.home / "gone")
    objects.write_text("not a folder")
    model_server.start()
    assert model_server.predict(MODEL, [ROW]).status == 200
    objects.unlink()
    shutil.move(model_server.home / "gone", objects)
    wait_until((objects / "segments").is_dir, 15, "the delivery of the log")
    assert len(model_server.predictions()) == 1
    model_server.publish(2, champion=(2, bundles.lightgbm(500.0)))
    model_server.wait_revision(MODEL, 2)


def test_a_bundle_that_is_damaged_is_never_served_and_the_old_version_goes_on(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start()
    blobs = model_server.blobs
    manifest = json.loads(blobs.get_object(pack_bundle(bundles.lightgbm(500.0), blobs)))
    path = manifest["predictor"]["path"]
    (digest,) = [entry["digest"] for entry in manifest["files"] if entry["path"] == path]
    damaged = model_server.home / "objects" / blobs.object_key(digest)
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes().replace(b"0", b"1"))
    model_server.publish(2, champion=(2, bundles.lightgbm(500.0)))
    wait_until(lambda: MODEL in model_server.worker_status()["problems"], 10, "the report")
    assert model_server.predict(MODEL, [ROW]).json["version"] == 1
    assert "revision 2 can't be served" in model_server.worker_status()["problems"][MODEL]
    model_server.publish(3, champion=(1, bundles.lightgbm(0.0)))
    model_server.wait_revision(MODEL, 3)
    assert model_server.worker_status()["problems"] == {}


def test_only_the_models_that_were_named_are_served(model_server: ModelServer, bundles: Bundles):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start(models=("other",))
    assert model_server.predict(MODEL, [ROW]).status == 404
    assert model_server.request("GET", "/v2/health/ready").json == {"ready": False, "waiting": ["other"]}
