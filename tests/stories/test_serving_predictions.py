"""A prediction from request to log: answered, checked, identified, routed, written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flyball_tests_serving import CONTRACT, MODEL, ROW, Bundles, ModelServer, wait_until

from flyball.core.ids import derived_id, is_id
from flyball.core.project import LogSection, ServeSection
from flyball.core.records import OutcomeRecord

AT = "2026-03-01T12:00:00Z"


@pytest.fixture
def served(model_server: ModelServer, bundles: Bundles) -> ModelServer:
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), entity="rider", time="when")
    return model_server.start()


def test_an_answer_names_its_version_and_its_record_holds_what_was_asked_and_answered(served: ModelServer):
    headers = {
        "X-Request-Id": "req-1",
        "X-Flyball-Entity": "kim",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    answer = served.predict(MODEL, [ROW], headers, at="2026-03-01T12:00:00Z")
    assert answer.status == 200, answer.data
    assert (answer.headers["x-request-id"], answer.headers["x-flyball-version"]) == ("req-1", "1")
    content = answer.json
    assert (content["model"], content["version"], content["role"], content["flags"]) == (
        MODEL,
        1,
        "champion",
        [[]],
    )
    assert content["predictions"][0] == pytest.approx(200, abs=15)
    (record,) = served.predictions()
    assert record.id == content["prediction_ids"][0]
    assert is_id(record.id, "prd")
    assert (record.role, record.asked, record.answered, record.revision) == ("champion", 1, 1, 1)
    assert (record.request_id, record.entity, record.trace) == ("req-1", "kim", headers["traceparent"])
    assert (record.input, record.output) == (ROW, content["predictions"][0])
    assert record.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert 0 < record.latency_us < 10_000_000


def test_rows_and_columns_get_the_same_answers_in_order(served: ModelServer):
    rows = [{**ROW, "temp": float(temp)} for temp in range(-10, 30, 5)]
    by_rows = served.predict(MODEL, rows).json
    body = {"columns": list(ROW), "data": [list(row.values()) for row in rows]}
    by_columns = served.request("POST", f"/v1/models/{MODEL}/predict", body).json
    assert by_rows["predictions"] == by_columns["predictions"]
    assert by_rows["predictions"] == sorted(by_rows["predictions"])
    assert len(set(by_rows["prediction_ids"] + by_columns["prediction_ids"])) == 2 * len(rows)


def test_a_clients_own_id_determines_the_prediction_id_so_a_retry_logs_the_same(served: ModelServer):
    first = served.predict(MODEL, [ROW, ROW], ids=["a", "b"]).json["prediction_ids"]
    again = served.predict(MODEL, [ROW], ids=["a"]).json["prediction_ids"]
    assert again == first[:1] == [derived_id("prd", MODEL, "a")]
    assert first[1] == derived_id("prd", MODEL, "b")


def test_the_time_is_what_was_said_else_the_rows_own_else_now(served: ModelServer):
    said = ["2026-03-01", None]
    rows = [{**ROW, "when": "2026-02-01T00:00:00+01:00"}, {**ROW, "when": "2026-02-02"}]
    served.predict(MODEL, rows, at=said)
    served.predict(MODEL, rows)
    served.predict(MODEL, [{**ROW, "when": "yesterday"}])
    records = served.predictions()
    assert records[0].at == datetime(2026, 3, 1, tzinfo=UTC)
    assert records[1].at == datetime(2026, 2, 2, tzinfo=UTC)
    assert [r.at for r in records[2:4]] == [
        datetime(2026, 1, 31, 23, tzinfo=UTC),
        datetime(2026, 2, 2, tzinfo=UTC),
    ]
    assert (records[4].at, records[4].flags) == (records[4].received_at, ["type:when"])


def test_a_row_without_a_readable_time_stands_at_the_moment_it_was_received(served: ModelServer):
    rows: list[dict[str, Any]] = [
        ROW,
        {**ROW, "when": None},
        {**ROW, "when": 1_520_000_000},
        {**ROW, "when": "1815-06-18"},
        {**ROW, "when": "2026-02-02"},
    ]
    flags = [[], [], ["type:when"], ["type:when"], []]
    assert served.predict(MODEL, rows).json["flags"] == flags
    records = served.predictions()
    assert [record.at == record.received_at for record in records] == [True, True, True, True, False]
    assert [record.flags for record in records] == flags
    assert served.predict(MODEL, rows, at="2026-02-03").json["flags"] == [[]] * 5
    assert served.predict(MODEL, rows[:2], at=["2026-02-03", None]).json["flags"] == [[], []]


def test_a_row_with_an_unreadable_time_is_refused_where_violations_are(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), time="when", on_violation="reject")
    model_server.start()
    answer = model_server.predict(MODEL, [{**ROW, "when": "2026-02-02"}, {**ROW, "when": "soon"}])
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert (error["row"], error["feature"], error["problem"]) == (1, "when", "type")
    assert "`at`" in error["expected"]
    assert model_server.predict(MODEL, [ROW]).status == 200


def test_what_was_refused_keeps_the_time_that_was_said_of_it(model_server: ModelServer, bundles: Bundles):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), on_violation="reject")
    model_server.start()
    assert model_server.predict(MODEL, [{**ROW, "temp": "warm"}], at="2018-02-02").status == 422
    (record,) = model_server.predictions()
    assert (record.error, record.at) == ("rejected", datetime(2018, 2, 2, tzinfo=UTC))


def test_a_time_before_1970_is_refused(served: ModelServer):
    answer = served.predict(MODEL, [ROW], at="0001-01-01")
    assert (answer.status, answer.json["errors"][0]["feature"]) == (422, "at")


def test_the_entity_is_the_headers_else_the_bodys_else_the_rows_own(served: ModelServer):
    rows = [{**ROW, "rider": "r1"}, {**ROW, "rider": 2}]
    served.predict(MODEL, rows, {"X-Flyball-Entity": "h"}, entity="b", at=AT)
    served.predict(MODEL, rows, entity=["b1", "b2"], at=AT)
    served.predict(MODEL, rows, at=AT)
    assert [record.entity for record in served.predictions()] == ["h", "h", "b1", "b2", "r1", "2"]
    assert all(record.flags == [] and "rider" not in record.input for record in served.predictions())


def test_what_breaks_the_contract_is_answered_and_flagged_row_by_row(served: ModelServer):
    rows: list[dict[str, Any]] = [
        ROW,
        {"temp": 99, "hour": "eight", "colour": "red"},
        {"hour": 3, "trouble": 0},
    ]
    answer = served.predict(MODEL, rows, at=AT)
    assert answer.status == 200
    expected = [[], ["range:temp", "type:hour", "unknown:colour"], ["missing:temp"]]
    assert answer.json["flags"] == expected
    records = served.predictions()
    assert [record.flags for record in records] == expected
    assert records[1].input == {"temp": 99, "hour": "eight"}
    metrics = served.request("GET", "/metrics").data.decode()
    assert 'flyball_contract_violations_total{model="rides",problem="range"} 1' in metrics


def test_where_the_project_says_so_they_are_rejected_by_row_and_field_and_leave_a_record(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), on_violation="reject")
    model_server.start()
    answer = model_server.predict(
        MODEL, [ROW, {**ROW, "temp": 99}, {**ROW, "stranger": 1}], ids=["a", "b", "c"]
    )
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert error == {
        "row": 1, "feature": "temp", "problem": "range", "got": "99", "expected": "float from -30 to 50",
    }  # fmt: skip
    (record,) = model_server.predictions()
    assert (record.answered, record.error, record.flags) == (None, "rejected", ["range:temp"])
    assert record.id != derived_id("prd", MODEL, "b")
    assert model_server.predict(MODEL, [{**ROW, "stranger": 1}]).json["flags"] == [["unknown:stranger"]]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/models/nobody/predict", {"rows": [ROW]}, {}, 404),
        ("/v1/models/rides/predict", b"{not json", {}, 400),
        ("/v1/models/rides/predict", b'{"rows": [{"temp": NaN}]}', {}, 400),
        ("/v1/models/rides/predict", b"[" * 5000, {}, 400),
        ("/v1/models/rides/predict", {"rows": [ROW]}, {"Content-Type": "text/plain"}, 415),
        ("/v1/models/rides/predict", {"rows": []}, {}, 422),
        ("/v1/models/rides/predict", {"rows": [ROW], "ids": ["a", "b"]}, {}, 422),
        ("/v1/models/rides/predict", {"rows": [ROW], "at": "soon"}, {}, 422),
        ("/v1/models/rides/predict", {"rows": [ROW], "explain": True}, {}, 422),
        ("/v1/models/rides/predict", {"rows": [{"temp": [1]}]}, {}, 422),
        ("/v1/models/rides/predict", {"rows": [ROW] * 10_001}, {}, 413),
        ("/v1/models/rides/predict", b" " * (50 * 2**20), {}, 413),
        ("/v1/models/rides/outcomes", {"outcomes": []}, {}, 422),
        ("/nowhere", {"rows": [ROW]}, {}, 404),
    ],
)
def test_bad_input_gets_its_status_and_nothing_is_logged(
    served_once: ModelServer, path: str, body: Any, headers: dict[str, str], status: int
):
    answer = served_once.request("POST", path, body, headers)
    assert answer.status == status, answer.data[:300]
    assert answer.json["message"]
    assert served_once.predictions() == []
    assert served_once.request("GET", "/v2/health/live").status == 200


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles) -> Any:
    server = ModelServer(tmp_path_factory.mktemp("served") / "home")
    server.home.mkdir()
    server.publish(1, champion=(1, bundles.lightgbm(0.0)))
    yield server.start()
    server.stop()


def test_integers_beyond_any_float_are_an_answer_and_a_record_too(served: ModelServer):
    body = b'{"rows": [{"temp": ' + b"9" * 400 + b', "hour": 3, "trouble": 0}]}'
    answer = served.request("POST", f"/v1/models/{MODEL}/predict", body)
    assert answer.status in (200, 400), answer.data
    assert served.predict(MODEL, [{**ROW, "temp": 2**70}], at=AT).json["flags"] == [["range:temp"]]
    assert served.predictions()[-1].flags == ["range:temp"]


def test_dropped_and_hashed_fields_never_reach_the_disk(model_server: ModelServer, bundles: Bundles):
    log = LogSection(drop=["hour"], hash=["rider"])
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), entity="rider", log=log)
    model_server.start()
    for _ in range(2):
        model_server.predict(MODEL, [{**ROW, "hour": 17, "rider": "kim-the-secret-rider"}])
    records = model_server.predictions()
    assert records[0].entity == records[1].entity
    assert (records[0].entity or "").startswith("h_")
    assert "hour" not in records[0].input
    model_server.stop()
    for path in model_server.home.rglob("*"):
        assert not path.is_file() or b"kim-the-secret-rider" not in path.read_bytes()


@pytest.mark.parametrize("durability", ["disk", "none"])
def test_each_durability_answers(model_server: ModelServer, bundles: Bundles, durability: str):
    log = LogSection(durability=durability)
    model_server.publish(1, champion=(1, bundles.lightgbm(0.0)), log=log)
    model_server.start()
    assert [model_server.predict(MODEL, [ROW]).status for _ in range(3)] == [200] * 3
    assert len(model_server.predictions()) == (3 if durability == "disk" else 0)


def test_outcomes_are_accepted_by_id_or_entity_and_time_whether_or_not_their_prediction_is_known(
    served: ModelServer,
):
    prediction_id = served.predict(MODEL, [ROW]).json["prediction_ids"][0]
    outcomes = [
        {"prediction_id": prediction_id, "value": 199.5, "at": "2026-03-02T00:00:00Z"},
        {"prediction_id": "prd_" + "0" * 32, "value": 7},
        {"entity": "kim", "time": "2026-03-01T12:00:00Z", "value": 3, "at": "2026-03-02"},
    ]
    for _ in range(2):
        answer = served.request("POST", f"/v1/models/{MODEL}/outcomes", {"outcomes": outcomes})
        assert (answer.status, answer.json) == (200, {"model": MODEL, "accepted": 3})
    records = [record for record in served.records() if isinstance(record, OutcomeRecord)]
    assert len(records) == 6
    assert len({record.id for record in records}) == 3
    assert (records[0].prediction_id, records[0].value) == (prediction_id, 199.5)
    assert (records[2].entity, records[2].time) == ("kim", datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_each_wrong_outcome_is_named_and_none_is_kept(served: ModelServer):
    wrong = [
        {"prediction_id": "prd_" + "0" * 32, "value": 1},
        {"value": 1},
        {"prediction_id": "prd_" + "0" * 32, "entity": "kim", "time": "2026-03-01", "value": 1},
        {"entity": "kim", "value": 1},
        {"prediction_id": "../etc/passwd", "value": 1},
        {"prediction_id": "prd_" + "0" * 32, "value": "many"},
        {"prediction_id": "prd_" + "0" * 32, "value": None},
    ]
    answer = served.request("POST", f"/v1/models/{MODEL}/outcomes", {"outcomes": wrong})
    assert answer.status == 422
    assert [error["row"] for error in answer.json["errors"]] == [1, 2, 3, 4, 5, 6]
    assert served.records() == []


def test_metadata_and_readiness_speak_the_open_inference_protocol(served: ModelServer):
    metadata = served.request("GET", f"/v2/models/{MODEL}").json
    assert metadata["versions"] == ["1"]
    assert [field["name"] for field in metadata["inputs"]] == list(CONTRACT.features)
    for path, status in [
        (f"/v2/models/{MODEL}/ready", 200),
        (f"/v2/models/{MODEL}/versions/1", 200),
        (f"/v2/models/{MODEL}/versions/1/ready", 200),
        (f"/v2/models/{MODEL}/versions/2/ready", 404),
        ("/v2/models/nobody", 404),
        ("/v2/models/nobody/ready", 404),
        ("/v2/health/ready", 200),
    ]:
        assert served.request("GET", path).status == status, path


def test_a_model_without_a_version_is_a_503_and_says_when_to_come_back(
    model_server: ModelServer, bundles: Bundles
):
    model_server.publish(1, champion=None)
    model_server.start()
    answer = model_server.predict(MODEL, [ROW])
    assert (answer.status, answer.json["code"]) == (503, "no_version_ready")
    assert int(answer.headers["retry-after"]) >= 1
    assert model_server.request("GET", "/v2/health/ready").status == 503
    model_server.publish(2, champion=(1, bundles.lightgbm(0.0)))
    wait_until(lambda: model_server.predict(MODEL, [ROW]).status == 200, what="the first version")


def test_the_body_limit_is_the_models_own(model_server: ModelServer, bundles: Bundles):
    model_server.publish(
        1, champion=(1, bundles.lightgbm(0.0)), serve=ServeSection(max_body_mb=0.01, max_rows=5)
    )
    model_server.start()
    assert model_server.predict(MODEL, [ROW] * 5).status == 200
    assert model_server.predict(MODEL, [ROW] * 6).json["code"] == "too_many_rows"
    big = json.dumps({"rows": [ROW]}).encode() + b" " * 20_000
    assert model_server.request("POST", f"/v1/models/{MODEL}/predict", big).json["code"] == "too_large"


def test_the_status_tells_what_each_worker_serves(served: ModelServer):
    served.predict(MODEL, [ROW])
    (path,) = wait_until(
        lambda: list((served.home / "objects" / "serving").glob("*.json")), what="the status"
    )
    status = json.loads(path.read_bytes())
    assert status["worker"] == path.stem
    assert (status["revisions"], status["champions"], status["candidates"]) == (
        {MODEL: 1}, {MODEL: 1}, {MODEL: None},
    )  # fmt: skip
    assert status["problems"] == status["faults"] == {}
    wait_until(lambda: served.worker_status()["log"]["written"] == 1, 4, "the count of the log")


def test_a_worker_stays_small_and_loads_no_learner(served: ModelServer):
    served.predict(MODEL, [ROW])
    status = served.status()
    assert status is not None
    pid = status["workers"][0]["pid"]
    with open(f"/proc/{pid}/smaps_rollup") as file:
        pss_kb = int(file.read().split("\nPss:")[1].split()[0])
    assert pss_kb < 250 * 1024
    with open(f"/proc/{pid}/maps") as file:
        mapped = file.read()
    assert "lib_lightgbm" in mapped
    for library in ("polars", "sklearn", "scipy", "pandas", "psycopg", "sqlalchemy"):
        assert f"site-packages/{library}" not in mapped, library
