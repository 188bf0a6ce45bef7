"""From one prediction, by links alone, to the version, run, data and evidence behind it: on a whole Flyball."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flyball.client import Client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, control_environment: dict[str, str]) -> Iterator[Any]:
    """A model trained, deployed over the API and in service."""
    from flyball_tests_whole import Whole, write_project

    whole = Whole(write_project(tmp_path_factory.mktemp("web") / "plant"), control_environment)
    whole.flyball("run", "--why", "first model")
    whole.up()
    with Client(f"http://127.0.0.1:{whole.port}") as client:
        client.deploy("plant", why="nothing to compare with")
    whole.wait(lambda: whole.call(whole.serve_port, "GET", "/v2/models/plant/ready")[0] == 200, "the model")
    yield whole
    whole.down()


def get(whole: Any, path: str) -> str:
    status, content = whole.call(whole.port, "GET", path)
    assert status == 200, (path, content)
    return content.decode() if isinstance(content, bytes) else str(content)


def test_one_prediction_leads_to_its_version_run_and_data(served: Any):
    body = {"rows": [{"heat": 4.5, "water": 1.25}], "at": "2012-05-03T07:00:00Z"}
    status, answer = served.call(served.serve_port, "POST", "/v1/models/plant/predict", body)
    assert status == 200
    identity = answer["prediction_ids"][0]
    outcome = {"outcomes": [{"prediction_id": identity, "value": 12.5, "at": "2012-05-03T07:00:00Z"}]}
    assert served.call(served.serve_port, "POST", "/v1/models/plant/outcomes", outcome)[0] == 200
    with Client(f"http://127.0.0.1:{served.port}") as client:
        served.wait(lambda: client.progress("plant").outcomes == 1, "the outcome")
        found = client.get_prediction(identity)
        assert found.input == {"heat": 4.5, "water": 1.25}
        assert found.prediction == pytest.approx(answer["predictions"][0])
        assert [step.what for step in client.lineage(identity)][:4] == ["version", "bundle", "run", "data"]
        assert client.recent_predictions("plant")[0].id == identity
    page = get(served, f"/predictions/{identity}")
    for said in ("4.5", "1.25", "12.5", f"flyball replay {identity}", found.lineage[3].name):
        assert said in page
    links = set(re.findall(r'href="(/(?:models|runs)/[^"]*)"', page))
    assert "/models/plant/versions/1" in links
    for link in links:
        assert "<h1>" in get(served, link)
    version = get(served, "/models/plant/versions/1")
    assert "first model" in version
    assert "evaluation" in version


def test_a_runs_log_is_shown_as_text_and_handed_out_as_a_file(served: Any):
    with Client(f"http://127.0.0.1:{served.port}") as client:
        run = client.list_runs("plant")[0]
        assert run.state == "registered"
        lines = client.run_logs(run.id)
    assert lines
    assert "Took" in get(served, f"/runs/{run.id}")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request("GET", f"/runs/{run.id}/log.txt")
    answer = connection.getresponse()
    assert answer.read().decode().splitlines() == lines
    assert answer.getheader("Content-Disposition", "").startswith("attachment")
    assert "sandbox" in answer.getheader("Content-Security-Policy", "")


def test_a_runs_log_is_asked_for_in_pages_by_the_number_of_a_line(served: Any):
    with Client(f"http://127.0.0.1:{served.port}") as client:
        run = client.list_runs("plant")[0]
        lines = client.run_logs(run.id)
        assert client.run_logs(run.id, 2) == lines[-2:]
        last, first = client.run_log(run.id, limit=3), client.run_log(run.id, 0, 2)
    assert last.lines == lines[-3:] and last.offset == len(lines) - 3 and last.next is None
    assert first.lines == lines[:2] and first.next == 2 and first.total == len(lines)
    assert served.call(served.port, "GET", f"/api/v1/runs/{run.id}/log?limit=100000")[0] == 400
