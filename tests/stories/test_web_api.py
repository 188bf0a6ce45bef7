"""The control plane over HTTP: a real process on a home that holds models, versions, windows and incidents."""

from __future__ import annotations

import re
import socket
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flyball.client import Client
from flyball.core import errors
from flyball.core.endpoints import list_endpoints

MODEL = "bike-demand"
V1 = "/api/v1"


def items_of_all_pages(control: Any, path: str) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        query = f"{path}{'&' if '?' in path else '?'}limit=3" + (f"&cursor={cursor}" if cursor else "")
        page = control.ask("GET", query).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_models_and_versions_are_read_by_number_alias_and_digest(control: Any):
    models = control.ask("GET", f"{V1}/models").json()["items"]
    assert [(m["name"], m["champion"], m["version_count"], m["open_incidents"]) for m in models] == [
        (MODEL, 1, 3, 1)
    ]
    by_number = control.ask("GET", f"{V1}/models/{MODEL}/versions/1").json()
    by_alias = control.ask("GET", f"{V1}/models/{MODEL}/versions/champion").json()
    by_digest = control.ask(
        "GET", f"{V1}/models/{MODEL}/versions/{by_number['version']['digest'][7:19]}"
    ).json()
    assert by_number["version"] == by_alias["version"] == by_digest["version"]
    assert by_number["gates"][0]["outcome"] == "pass"
    versions = items_of_all_pages(control, f"{V1}/models/{MODEL}/versions")
    assert [(v["number"], v["state"]) for v in versions] == [
        (3, "refused"),
        (2, "registered"),
        (1, "registered"),
    ]


def test_what_is_not_there_is_told_as_a_problem_document(control: Any):
    for path, code in [
        ("/models/nothing", "model_not_found"),
        (f"/models/{MODEL}/versions/99", "version_not_found"),
        ("/incidents/inc_0", "incident_not_found"),
        ("/runs/run_" + "0" * 32, "run_not_found"),
        ("/nowhere", "not_found"),
    ]:
        answer = control.ask("GET", V1 + path)
        problem = answer.json()
        assert answer.status == problem["status"] == 404
        assert problem["code"] == code
        assert problem["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_description_of_the_api_is_openapi_3_1_and_names_every_endpoint(control: Any):
    described = control.ask("GET", "/api/schema").json()
    assert described["openapi"].startswith("3.1")
    told = {
        (method.upper(), path)
        for path, item in described["paths"].items()
        for method in item
        if method in ("get", "post", "put")
    }
    assert told == {(e.method, e.path) for e in list_endpoints("control") if e.path.startswith("/api/")}
    assert described["components"]["schemas"]


def test_windows_and_events_come_as_series_on_model_time(control: Any):
    series = control.ask("GET", f"{V1}/models/{MODEL}/series").json()
    assert series["metric"] == "mae"
    assert [window["loss"] for window in series["windows"]] == [36.0 + 3 * i for i in range(9)]
    assert {event["kind"] for event in series["events"]} >= {"signal"}
    drift = control.ask("GET", f"{V1}/models/{MODEL}/drift").json()
    assert drift["features"][0]["name"] == "temp"


def test_a_note_is_written_once_however_often_its_request_is_sent(control: Any):
    path = f"{V1}/incidents/{control.ids['incident']}/notes"
    key = {"Idempotency-Key": "note-1"}
    first = control.ask("POST", path, {"text": "checked the feed"}, key)
    again = control.ask("POST", path, {"text": "checked the feed"}, key)
    other = control.ask("POST", path, {"text": "something else"}, key)
    assert (first.status, again.status, other.status) == (200, 200, 409)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    entries = control.ask("GET", f"{V1}/incidents/{control.ids['incident']}").json()["entries"]
    assert [e["text"] for e in entries if e["kind"] == "note"].count("checked the feed") == 1


def test_a_person_deploys_pauses_resumes_and_aborts_and_each_step_is_audited(control: Any):
    started = control.ask("POST", f"{V1}/models/{MODEL}/deploy", {"version": 2, "why": "new features"})
    assert started.status == 200
    assert started.json()["rollout_id"]
    states = []
    for decision in ("pause", "resume", "abort"):
        answer = control.ask("POST", f"{V1}/models/{MODEL}/rollout/{decision}", {"why": f"to {decision}"})
        states.append((answer.status, answer.json().get("state")))
    assert states == [(200, "paused"), (200, "running"), (200, "aborted")]
    rollout = control.ask("GET", f"{V1}/rollouts?model={MODEL}").json()["items"][0]
    assert (rollout["candidate"], rollout["state"]) == (2, "aborted")
    reasons = " ".join(entry["why"] for entry in items_of_all_pages(control, f"{V1}/audit?model={MODEL}"))
    assert [why for why in ("new features", "to pause", "to resume", "to abort") if why not in reasons] == []
    assert control.ask("POST", f"{V1}/models/{MODEL}/rollout/abort", {"why": "again"}).status == 404


def test_what_a_rule_forbids_is_refused_with_the_rule(control: Any):
    refused = control.ask(
        "POST", f"{V1}/models/{MODEL}/deploy", {"version": 3, "why": "never mind the gates"}
    )
    assert refused.status == 403
    assert "gates" in refused.json()["detail"]
    assert control.ask("POST", f"{V1}/models/{MODEL}/deploy", {"version": 1}).status == 409
    assert control.ask("POST", f"{V1}/models/{MODEL}/rollback", {"why": "nowhere to go"}).status == 409


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"{", "the body is not JSON: input data was truncated"),
        (b"{}", "text is missing"),
        (b"[]", "the body: expected an object, got a list"),
        (b'{"text": 7}', "text: expected text, got a whole number"),
        (b'{"text": ""}', "text"),
        (b'{"text": "x", "actor": "somebody else"}', "actor"),
        (b'{"text": "' + b"x" * 5000 + b'"}', "text"),
        (b"[" * 100_000, ""),
        (b'{"text":' * 2_000 + b"1" + b"}" * 2_000, ""),
        (b'\xff\xfe{"text": "x"}', ""),
    ],
)
def test_a_body_that_can_not_be_used_is_refused_and_changes_nothing(control: Any, body: bytes, words: str):
    path = f"{V1}/incidents/{control.ids['incident']}"
    before = control.ask("GET", path).json()
    answer = control.ask("POST", path + "/notes", body or b" ")
    assert answer.status == 400
    assert words in answer.json()["detail"]
    assert control.ask("GET", path).json() == before


def test_a_body_beyond_its_limit_is_refused_before_it_is_read(control: Any):
    with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
        head = (
            f"POST {V1}/incidents/{control.ids['incident']}/notes HTTP/1.1\r\nHost: 127.0.0.1:{control.port}\r\n"
            f"Origin: {control.url}\r\nContent-Type: application/json\r\nContent-Length: 60000000\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"text": "')
        answer = connection.recv(4096)
    assert b" 413 " in answer.split(b"\r\n")[0]


def test_a_body_without_length_is_cut_off_at_its_limit(control: Any):
    sent = 0
    with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
        head = (
            f"POST {V1}/incidents/{control.ids['incident']}/notes HTTP/1.1\r\nHost: 127.0.0.1:{control.port}\r\n"
            f"Origin: {control.url}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        answer = b""
        connection.settimeout(0.05)
        while sent < 40 * 65536 and not answer:
            try:
                connection.sendall(chunk)
            except OSError:
                break
            sent += 65536
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert sent < 4 * 1024 * 1024


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_a_foreign_page_changes_nothing(control: Any, origin: str | None):
    before = len(items_of_all_pages(control, f"{V1}/audit"))
    for endpoint in [e for e in list_endpoints("control") if e.method == "POST"]:
        path = (
            endpoint.path.replace("{model}", MODEL)
            .replace("{decision}", "abort")
            .replace("{incident_id}", control.ids["incident"])
        )
        for body, kind in [
            (b'{"why": "x", "text": "x"}', "text/plain"),
            (b"key=k&why=x&text=x&version=2", "application/x-www-form-urlencoded"),
        ]:
            answer = control.ask("POST", path, body, {"Origin": origin, "Content-Type": kind})
            assert answer.status == 403
    assert len(items_of_all_pages(control, f"{V1}/audit")) == before


def test_a_name_that_was_bound_again_to_this_address_gets_no_answer(control: Any):
    for path in (f"{V1}/models", "/", "/static/console.css"):
        assert control.ask("GET", path, headers={"Host": f"evil.example:{control.port}"}).status == 421


def test_the_audit_trail_is_paged_without_gaps_and_verified(control: Any):
    numbers = [entry["number"] for entry in items_of_all_pages(control, f"{V1}/audit")]
    assert numbers == list(range(numbers[0], 0, -1))
    verified = control.ask("GET", f"{V1}/audit/verify").json()
    assert verified["ok"]
    head = f"{verified['head']['number']}:{verified['head']['digest']}"
    assert control.ask("GET", f"{V1}/audit/verify?head={head}").json()["ok"]
    forged = f"{verified['head']['number']}:sha256:{'0' * 64}"
    assert not control.ask("GET", f"{V1}/audit/verify?head={forged}").json()["ok"]
    assert control.ask("GET", f"{V1}/audit/verify?head=nonsense").status == 422


def read_stream(control: Any, path: str, wanted: int, headers: dict[str, str], found: list[str]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{control.port}\r\n{lines}\r\n".encode())
        data = b""
        while data.count(b"\nid: ") < wanted:
            piece = connection.recv(4096)
            if not piece:
                break
            data += piece
    found.append(data.decode())


def test_events_stream_as_they_happen_and_a_broken_stream_goes_on_where_it_was(control: Any):
    found: list[str] = []
    reader = threading.Thread(target=read_stream, args=(control, f"{V1}/events", 1, {}, found))
    reader.start()
    time.sleep(1)
    control.ask("POST", f"{V1}/models/{MODEL}/deploy", {"version": 2, "why": "streamed"})
    reader.join(20)
    control.ask("POST", f"{V1}/models/{MODEL}/rollout/abort", {"why": "enough"})
    assert "text/event-stream" in found[0]
    first = int(re.search(r"\nid: (\d+)", found[0])[1])
    read_stream(control, f"{V1}/events", 1, {"Last-Event-ID": str(first - 1)}, found)
    assert f"\nid: {first}\n" in found[1]
    page = control.ask("GET", f"{V1}/events?after={first - 1}&stream=false").json()
    assert page["items"][0]["number"] == first


def test_the_remote_object_has_the_verbs_and_errors_of_the_local_one(control: Any):
    with Client(control.url) as client:
        assert [model.name for model in client.list_models()] == [MODEL]
        version = client.show_version(f"{MODEL}@1")
        assert version.version.number == 1
        assert isinstance(version.version.created_at, datetime)
        assert client.history(MODEL)[0].to_number == 1
        client.add_note(control.ids["incident"], "from afar")
        assert client.get_incident(control.ids["incident"]).entries[-1].text == "from afar"
        assert client.audit_verify().ok
        assert len(client.audit_log(limit=5)) == 5
        assert client.list_events(limit=2)[1].number > client.list_events(limit=2)[0].number
        with pytest.raises(errors.ModelNotFound, match="there is no model 'nothing'"):
            client.get_model("nothing")
        with pytest.raises(errors.Refused, match="gates"):
            client.deploy(f"{MODEL}@3", why="x")
        with pytest.raises(errors.BadInput):
            client.show_version("..@1")
    with (
        Client("http://127.0.0.1:9", timeout_seconds=2) as nobody,
        pytest.raises(errors.Unavailable, match="does not answer"),
    ):
        nobody.list_models()
    with pytest.raises(errors.BadInput, match="no address"):
        Client("ftp://127.0.0.1")


def test_a_token_is_refused_while_there_are_none(control: Any):
    with Client(control.url, "secret") as client, pytest.raises(errors.Refused, match="knows no tokens"):
        client.list_models()


def test_the_process_holds_no_library_of_tables_or_learners(control: Any):
    mapped = Path(f"/proc/{control.process.pid}/maps").read_text()
    heavy = ("polars", "numpy", "scipy", "sklearn", "deltalake", "lightgbm", "xgboost", "onnxruntime")
    assert [name for name in heavy if f"/{name}" in mapped] == []


def test_it_ends_on_sigterm_with_streams_open_and_starts_again_on_what_was_written(empty_control: Any):
    empty_control.start()
    found: list[str] = []
    reader = threading.Thread(target=read_stream, args=(empty_control, f"{V1}/events", 1, {}, found))
    reader.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert empty_control.stop() == 0
    assert time.monotonic() - began < 20
    reader.join(10)
    empty_control.start()
    assert empty_control.ask("GET", f"{V1}/models").json() == {"items": [], "next": None}


def test_a_taken_port_is_told_at_once_and_changes_nothing(control: Any, empty_control: Any):
    import subprocess
    import sys

    command = [sys.executable, "-m", "flyball.web.server", "--port", str(control.port)]
    environment = {**empty_control.environment, "FLYBALL_HOME": str(empty_control.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert f"port {control.port}" in done.stderr
    assert not empty_control.home.exists()


def test_other_machines_are_let_in_only_when_the_operator_says_so(empty_control: Any):
    import subprocess
    import sys

    command = [sys.executable, "-m", "flyball.web.server", "--host", "0.0.0.0", "--port", "0"]
    environment = {**empty_control.environment, "FLYBALL_HOME": str(empty_control.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "FLYBALL_CONTROL_ANONYMOUS=1" in done.stderr
