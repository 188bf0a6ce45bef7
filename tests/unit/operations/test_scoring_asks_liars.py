"""What calls itself a model server and answers nonsense ends the job with that said, and leaves no output."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from flyball.core.errors import BadAnswer, BadInput, FlyballError, Unavailable
from flyball.operations.asking import post
from flyball.operations.scoring import answers
from flyball.operations.scoring.job import score

DESCRIBED = {
    "inputs": [{"name": "a", "datatype": "INT64"}],
    "outputs": [{"name": "y", "datatype": "BYTES"}],
    "classes": ["no", "yes"],
}
ANSWERED = {
    "version": 1,
    "predictions": ["yes"] * 3,
    "prediction_ids": ["prd"] * 3,
    "flags": [[]] * 3,
    "scores": [[0.2, 0.8]] * 3,
}
Answer = tuple[int, dict[str, str], Any]


@contextmanager
def listening(described: Answer, answered: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*described)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(*answered)

        def _answer(self, status: int, headers: dict[str, str], told: Any) -> None:
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def scored(folder: Path, described: Answer, answered: Answer, source: str = "in.csv") -> Any:
    (folder / "in.csv").write_text("id,a\n1,2\n2,3\n3,\n")
    with listening(described, answered) as url:
        return score("shop", source, folder / "out.csv", place=url, folder=folder, say=lambda text: None)


def ok(told: Any) -> Answer:
    return 200, {}, told


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda told: told["predictions"].pop(), "other rows or classes"),
        (lambda told: [told[name].pop() for name in told if name != "version"], "other rows or classes"),
        (lambda told: told.update(versions=[1]), "other rows or classes"),
        (lambda told: told.update(scores=[[0.2, 0.8], [0.2, 0.8], [1.0]]), "other rows or classes"),
        (lambda told: told.update(scores=[[0.2, 0.7, 0.1]] * 3), "other rows or classes"),
        (lambda told: told.update(version=None), "does not answer as a model server"),
        (lambda told: told.update(flags=[[1]] * 3), "does not answer as a model server"),
        (lambda told: told.clear(), "does not answer as a model server"),
    ],
)
def test_an_answer_about_other_rows_is_no_answer(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], problem: str
):
    assert scored(tmp_path, ok(DESCRIBED), ok(ANSWERED)).rows == 3
    (tmp_path / "out.csv").unlink()
    told = json.loads(json.dumps(ANSWERED))
    change(told)
    with pytest.raises(Unavailable, match=problem) as raised:
        scored(tmp_path, ok(DESCRIBED), ok(told))
    assert "--key" in str(raised.value) and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "described",
    [
        ok({}),
        ok({**DESCRIBED, "inputs": [{"name": 5, "datatype": "INT64"}]}),
        ok({**DESCRIBED, "outputs": []}),
        ok(b'{"inputs": ' + b"[" * 100_000),
        ok(b"\xff"),
        (503, {"retry-after": "²"}, {}),
    ],
)
def test_what_describes_no_model_is_no_model_server(tmp_path: Path, described: Answer):
    with pytest.raises(Unavailable):
        scored(tmp_path, described, ok(ANSWERED))


@pytest.mark.parametrize("errors", [["no"], {"row": 0}, 7, [{"row": True}], [{"row": 3}]])
def test_a_refusal_that_names_no_row_of_those_is_about_each_row(tmp_path: Path, errors: Any):
    found = scored(tmp_path, ok(DESCRIBED), (422, {}, {"message": "never", "errors": errors}))
    assert found.refused == 3 and [item["problem"] for item in found.problems] == ["never"] * 3


@pytest.mark.parametrize("place", ["http://ops:s3cret@127.0.0.1:1", "http://ops:s3cret@127.0.0.1:x"])
def test_what_does_not_answer_is_named_without_its_password(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "AWAY_SECONDS", 0.0)
    (tmp_path / "in.csv").write_text("id,a\n1,2\n")
    say: list[str] = []
    for ask in (
        lambda: score("shop", "in.csv", tmp_path / "out.csv", place=place, folder=tmp_path, say=say.append),
        lambda: post(f"{place}/v1/models/shop/predict", {}),
    ):
        with pytest.raises(FlyballError) as raised:
            ask()
        assert "127.0.0.1" in raised.value.message
        assert "s3cret" not in f"{raised.value.message} {raised.value.facts} {say}"


def test_a_number_that_no_column_holds_is_no_answer(tmp_path: Path):
    described = {name: told for name, told in DESCRIBED.items() if name != "classes"}
    answered = {name: told for name, told in ANSWERED.items() if name != "scores"}
    with pytest.raises(BadAnswer):
        scored(tmp_path, ok(described), ok({**answered, "predictions": [1, 2, 2**70]}))


def test_a_length_of_time_is_left_to_the_server(tmp_path: Path):
    pl.DataFrame({"a": [timedelta(days=2)] * 3}).write_parquet(tmp_path / "in.parquet")
    assert scored(tmp_path, ok(DESCRIBED), ok(ANSWERED), "in.parquet").rows == 3


def test_a_link_in_the_place_of_a_kept_key_is_not_followed(tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / f".out.csv.scored.{os.getpid()}").symlink_to(other)
    with pytest.raises(BadInput, match="can't be written"):
        scored(tmp_path, ok(DESCRIBED), ok(ANSWERED))
    assert other.read_text() == "mine"


def test_a_name_asks_about_no_other_model(tmp_path: Path):
    with listening(ok(DESCRIBED), ok(ANSWERED)) as url:
        for name in ("shop?x=1", "../../shop", "shop#"):
            asker = answers.Asker(url, name, lambda: None)
            asked: list[Any] = []
            asker._client.event_hooks["request"] = [asked.append]
            asker.describe()
            assert asked[0].url.raw_path.decode() == f"/v2/models/{quote(name, safe='')}"
            asker.close()
