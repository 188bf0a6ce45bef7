"""Candidates that misbehave: clients see no error, the candidate is asked no more, and the reason is on record."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
from flyball_tests_serving import MODEL, ROW, TROUBLE, Bundles, ModelServer, is_running, wait_until

from flyball.core.project import ServeSection


def canary(server: ModelServer, bundles: Bundles, behaviour: str, **fields: Any) -> ModelServer:
    """A server whose candidate, asked first for every request, misbehaves on rows with trouble."""
    server.publish(
        1,
        champion=(1, bundles.lightgbm(0.0)),
        candidate=(2, bundles.custom(behaviour)),
        **{"candidate_role": "canary", "share": 1.0, "serve": ServeSection(memory_mb=600), **fields},
    )
    return server.start(FLYBALL_CANDIDATE_DEADLINE_SECONDS="0.5" if behaviour == "hang" else "5")


def tripped(server: ModelServer) -> dict[str, Any] | None:
    faults = server.worker_status()["faults"].get(MODEL, {}).get("2", {})
    return faults if faults.get("tripped") else None


@pytest.mark.parametrize(
    ("behaviour", "kinds"),
    [
        ("raise", {"exception"}),
        ("hang", {"hang"}),
        ("leak", {"memory"}),
        ("nan", {"not_finite", "exception"}),
        ("exit", {"crash"}),
        ("short", {"shape", "exception"}),
    ],
)
def test_clients_see_no_error_and_the_candidate_is_asked_no_more(
    model_server: ModelServer, bundles: Bundles, behaviour: str, kinds: set[str]
):
    canary(model_server, bundles, behaviour)
    good = model_server.predict(MODEL, [ROW]).json
    assert (good["version"], good["role"], good["predictions"]) == (2, "candidate", [1020.0])
    began, answers = time.monotonic(), []
    while tripped(model_server) is None:
        assert time.monotonic() - began < 10, model_server.worker_status()
        answers.append(model_server.predict(MODEL, [TROUBLE]))
    assert {answer.status for answer in answers} == {200}
    # A leak answers until it meets its limit; every other answer came from the champion.
    late = answers if behaviour != "leak" else answers[-1:]
    assert {(answer.json["version"], answer.json["role"]) for answer in late} == {(1, "champion")}
    report = tripped(model_server)
    assert report is not None
    assert set(report["kinds"]) <= kinds
    assert report["reason"]
    # From now on it is not asked at all, not even for sound rows.
    after = model_server.predict(MODEL, [ROW])
    assert (after.status, after.json["version"]) == (200, 1)
    records = [record for record in model_server.predictions("candidate") if record.answered == 1]
    assert {record.asked for record in records} == {2}
    assert all(record.error for record in records)
    assert "given up on" in (records[-1].error or "")
    assert len(model_server.predictions()) == len(answers) + 2
    metrics = model_server.request("GET", "/metrics").data.decode()
    assert 'flyball_faults_total{model="rides",version="2"' in metrics


@pytest.mark.parametrize("behaviour", ["raise", "hang", "exit"])
def test_a_shadow_that_fails_costs_the_champion_nothing(
    model_server: ModelServer, bundles: Bundles, behaviour: str
):
    canary(model_server, bundles, behaviour, candidate_role="shadow", share=0.0)
    for turn in range(20):
        answer = model_server.predict(MODEL, [TROUBLE if turn % 5 == 4 else ROW])
        assert (answer.status, answer.json["version"]) == (200, 1)
    failed = 4 if behaviour != "hang" else 1
    wait_until(
        lambda: len([r for r in model_server.predictions("shadow") if r.error]) >= failed,
        12,
        "the shadow's faults",
    )
    if behaviour == "hang":
        # Had an answer waited for the shadow's on the same row, the first hang would have ended before the sixth.
        told = model_server.predictions()
        first = next(place for place, record in enumerate(told) if record.error)
        assert [record.role for record in told[:first]].count("champion") == 20
    assert model_server.worker_status()["shadow"]["dropped"] == 0


def test_a_shadow_that_dies_now_and_then_is_asked_about_every_other_row(
    model_server: ModelServer, bundles: Bundles
):
    canary(model_server, bundles, "exit", candidate_role="shadow", share=0.0)
    rows = [TROUBLE if turn in (10, 25) else ROW for turn in range(40)]
    for row in rows:
        assert model_server.predict(MODEL, [row]).status == 200
    wait_until(lambda: len(model_server.predictions("shadow")) == 40, 15, "every shadow record")
    records = model_server.predictions("shadow")
    assert len([record for record in records if record.error is None and record.answered == 2]) == 38
    assert {record.error for record in records if record.error} == {
        "crash: the model's process ended with exit code 3"
    }


def test_a_candidate_that_can_not_be_loaded_is_given_up_on_and_the_revision_is_served_without_it(
    model_server: ModelServer, bundles: Bundles
):
    # Its code needs more memory than it is allowed before it can answer anything.
    model_server.publish(
        1,
        champion=(1, bundles.lightgbm(0.0)),
        candidate=(2, bundles.custom("none")),
        candidate_role="canary",
        share=1.0,
        serve=ServeSection(memory_mb=16),
    )
    model_server.start()
    model_server.wait_revision(MODEL, 1)
    assert model_server.predict(MODEL, [ROW]).json["version"] == 1
    report = wait_until(lambda: tripped(model_server), what="the report")
    assert report["kinds"].keys() <= {"load", "memory"}


def test_a_candidate_sees_no_credentials_and_no_other_folder_as_home(
    model_server: ModelServer, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    monkeypatch.setenv("FLYBALL_TOKEN", "swordfish")
    canary(model_server, bundles, "secrets")
    assert model_server.predict(MODEL, [TROUBLE]).status == 200
    (record,) = model_server.predictions("candidate")
    assert record.error is not None
    seen = set(json.loads(record.error[record.error.index("[") :]))
    assert {"PATH", "HOME"} <= seen
    assert not {name for name in seen if name.startswith(("AWS", "FLYBALL"))}


def test_a_candidate_reaches_no_network_where_the_platform_allows_that(
    model_server: ModelServer, bundles: Bundles
):
    if (
        subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("this machine lets nobody have a network of their own")
    canary(model_server, bundles, "network")
    answer = model_server.predict(MODEL, [{**ROW, "trouble": float(model_server.port)}])
    assert (answer.status, answer.json["version"]) == (200, 1)
    (record,) = model_server.predictions("candidate")
    assert "unreachable" in (record.error or "")


def test_processes_of_versions_that_are_not_routed_any_more_are_ended(
    model_server: ModelServer, bundles: Bundles
):
    canary(model_server, bundles, "none")
    status = model_server.status()
    assert status is not None
    worker = status["workers"][0]["pid"]

    def children() -> list[int]:
        with open(f"/proc/{worker}/task/{worker}/children") as file:
            return [int(pid) for pid in file.read().split()]

    (child,) = children()
    model_server.publish(2, champion=(1, bundles.lightgbm(0.0)))
    wait_until(lambda: not children(), 8, "the end of the candidate's process")
    assert not is_running(child)
    assert is_running(worker)


def test_a_custom_champion_that_dies_is_started_again_and_says_when_to_come_back(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.custom("exit", 5.0)))
    model_server.start()
    assert model_server.predict(MODEL, [ROW]).json["predictions"] == [25.0]
    poison = {**TROUBLE, "temp": 1.0}
    for _ in range(2):
        died = model_server.predict(MODEL, [poison])
        assert (died.status, died.headers["retry-after"]) == (503, "1")
        wait_until(lambda: model_server.predict(MODEL, [ROW]).status == 200, 8, "the restart")
    refused = model_server.predict(MODEL, [poison])
    assert (refused.status, refused.json["errors"][0]["problem"]) == (422, "refused")
    assert model_server.predict(MODEL, [ROW]).json["predictions"] == [25.0]
    failures = [record for record in model_server.predictions() if record.answered is None]
    assert len(failures) >= 3
    assert all(record.error for record in failures)


def test_a_custom_champion_that_raises_is_a_500_for_that_request_alone(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.custom("raise", 5.0)))
    model_server.start()
    answer = model_server.predict(MODEL, [TROUBLE])
    assert (answer.status, answer.json["code"]) == (500, "prediction_failed")
    assert model_server.predict(MODEL, [ROW]).status == 200
    assert "as asked: raised" in (model_server.predictions()[0].error or "")
