"""Revisions that can't be loaded: a worker answers with the last one it can, says why, and goes on by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_control import Control, open_home, seed
from flyball_tests_serving import MODEL, ROW, Bundles, ModelServer, pack_bundle, wait_until

from flyball.operations.servers import look_at_servers
from flyball.operations.upkeep import doctor, status
from flyball.registry.route_table import route_key


class Damage:
    """Other bytes in place of a stored bundle's model, until they are mended."""

    def __init__(self, server: ModelServer, bundle: Path) -> None:
        blobs = server.blobs
        manifest = json.loads(blobs.get_object(pack_bundle(bundle, blobs)))
        path = manifest["predictor"]["path"]
        (self.digest,) = [entry["digest"] for entry in manifest["files"] if entry["path"] == path]
        self._path = server.home / "objects" / blobs.object_key(self.digest)
        self._whole = self._path.read_bytes()
        self._path.chmod(0o600)
        self._path.write_bytes(self._whole.replace(b"0", b"1"))

    def mend(self) -> None:
        self._path.write_bytes(self._whole)


def problems(server: ModelServer) -> list[str]:
    with open_home(server.home) as app:
        return [str(problem) for problem in look_at_servers(app.backends).problems()]


def test_a_cold_worker_without_any_version_says_why_and_serves_it_once_it_is_mended(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    damage = Damage(model_server, bundles.lightgbm(0.0))
    model_server.start()
    answer = model_server.predict(MODEL, [ROW])
    assert (answer.status, answer.json["code"]) == (503, "no_version_ready")
    assert "revision 1 can't be served" in answer.json["message"]
    assert damage.digest in answer.json["message"]
    assert model_server.status()["models"] == {}, "what can't answer was adopted"
    (problem,) = problems(model_server)
    assert problem.startswith(f"{MODEL}: revision 1 can't be served")
    assert "nothing answers" in problem
    damage.mend()
    wait_until(lambda: model_server.predict(MODEL, [ROW]).status == 200, 10, "an answer")
    wait_until(lambda: problems(model_server) == [], 5, "calm")


def test_a_cold_worker_falls_back_to_the_last_revision_that_it_can_load(
    model_server: ModelServer, bundles: Bundles
):
    old, new = (1, bundles.lightgbm(0.0)), (2, bundles.lightgbm(500.0))
    model_server.publish(1, champion=old)
    model_server.publish(2, champion=old, candidate=new, candidate_role="canary", share=0.5)
    model_server.publish(3, champion=new, previous=old)
    model_server.publish(4, champion=new, previous=old, threshold=0.5)
    damage = Damage(model_server, new[1])
    model_server.start()
    answers = [model_server.predict(MODEL, [ROW], entity=f"e{n}") for n in range(20)]
    assert {(a.status, a.json["version"], a.json["role"]) for a in answers} == {(200, 1, "champion")}
    assert model_server.status()["models"][MODEL]["revision"] == 2
    (problem,) = problems(model_server)
    assert "revision 4 can't be served" in problem
    assert "version 1 (revision 2) answers meanwhile" in problem
    damage.mend()
    model_server.wait_revision(MODEL, 4)
    assert model_server.predict(MODEL, [ROW]).json["version"] == 2


def test_a_version_that_was_taken_out_of_service_is_no_way_back(model_server: ModelServer, bundles: Bundles):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.publish(2, champion=None)
    model_server.publish(3, champion=(2, bundles.lightgbm(500.0)))
    Damage(model_server, bundles.lightgbm(500.0))
    model_server.start()
    assert model_server.predict(MODEL, [ROW]).status == 503


@pytest.mark.parametrize(
    ("models", "because"), [((), "its routes can't be read"), ((MODEL,), "no route of it was found")]
)
def test_a_cold_worker_that_can_not_read_its_routes_refuses_for_now_and_does_not_deny_the_model(
    model_server: ModelServer, bundles: Bundles, models: tuple[str, ...], because: str
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    objects, away = model_server.home / "objects", model_server.home / "away"
    shutil.move(objects, away)
    if models:
        objects.write_text("not a folder")  # looks like a store with nothing in it
    else:
        objects.symlink_to(objects)  # can't be read
    model_server.start(models=models)
    for method, path, body in (
        ("POST", f"/v1/models/{MODEL}/predict", {"rows": [ROW]}),
        ("POST", f"/v1/models/{MODEL}/outcomes", {"outcomes": [{"prediction_id": "x", "value": 1.0}]}),
        ("GET", f"/v2/models/{MODEL}", None),
    ):
        answer = model_server.request(method, path, body)
        assert (answer.status, answer.json["code"]) == (503, "no_version_ready"), path
        assert because in answer.json["message"]
    objects.unlink()
    shutil.move(away, objects)
    wait_until(lambda: model_server.predict(MODEL, [ROW]).status == 200, 15, "an answer")
    assert model_server.request("GET", "/v2/models/other").status == 404


def test_a_store_that_is_away_is_told_while_the_worker_goes_on(model_server: ModelServer, bundles: Bundles):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    model_server.start()
    objects, away = model_server.home / "objects", model_server.home / "away"
    objects.rename(away)
    wait_until(lambda: problems(model_server), 10, "the report")
    assert problems(model_server)[0].startswith("object store: ")
    assert model_server.predict(MODEL, [ROW]).status == 200
    # The log of that answer may have been shipped by now, into a folder that was made for it.
    shutil.copytree(away, objects, dirs_exist_ok=True)
    wait_until(lambda: problems(model_server) == [], 45, "calm")


@pytest.mark.parametrize(
    ("data", "because"), [(b'{"format": 1, "mod', "not a route table"), (b'{"format": 2}', "update Flyball")]
)
def test_a_route_table_that_can_not_be_read_holds_up_no_other_model(
    model_server: ModelServer, bundles: Bundles, data: bytes, because: str
):
    other, old, new = "trips", (1, bundles.lightgbm(0.0)), (2, bundles.lightgbm(500.0))
    for model in (MODEL, other):
        model_server.publish(1, model=model, champion=old)
    model_server.start()
    damaged = model_server.home / "objects" / route_key(MODEL, 2)
    damaged.write_bytes(data)
    model_server.publish(2, model=other, champion=new)
    model_server.wait_revision(other, 2)
    assert model_server.predict(other, [ROW]).json["version"] == 2
    assert model_server.predict(MODEL, [ROW]).json["version"] == 1
    (problem,) = wait_until(lambda: problems(model_server), 5, "the report")
    assert problem.startswith(f"{MODEL}: its routes can't be read: ") and because in problem
    assert model_server.log.count("its routes can't be read") == 1

    # So does a worker that starts beside it, with what it knows of the model.
    model_server.stop()
    model_server.start()
    assert model_server.predict(MODEL, [ROW]).json["version"] == 1
    damaged.unlink()
    model_server.publish(2, champion=new)
    model_server.wait_revision(MODEL, 2)
    wait_until(lambda: problems(model_server) == [], 5, "calm")


@pytest.fixture
def broken_home(model_server: ModelServer) -> ModelServer:
    """A registered and deployed model whose files are whole and hold nothing that can be loaded."""
    from flyball.operations.publishing import publish_now

    seed(model_server.home, text="a test")
    with open_home(model_server.home) as app:
        publish_now(app.backends)
    return model_server.start()


def test_status_doctor_and_console_tell_what_is_not_served_as_decided(
    broken_home: ModelServer, control_environment: dict[str, str]
):
    with open_home(broken_home.home) as app:
        found: dict[str, Any] = status(app.backends)
        (model,) = found["models"]
        assert "not served as decided" in model["state"]
        assert found["problems"][0].startswith("bike-demand: revision 1 can't be served")
        checks = {finding["check"]: finding for finding in doctor(app.backends)}
        finding = checks["model servers serve what is wanted"]
        assert (finding["state"], "revision 1" in finding["repair"]) == ("wrong", True)
        control = Control(broken_home.home, control_environment).start()
        try:
            assert control.ask("GET", "/api/v1/status").json()["problems"] == found["problems"]
            page = control.ask("GET", "/").body.decode()
            assert "Model server: revision 1 can&#39;t be served" in page
            assert "needs attention" in page
        finally:
            control.kill()
        broken_home.stop()
        assert status(app.backends)["problems"] == []
