"""The newest predictions of a model: however long ago they were, and told at once when they can't be read now."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_control import open_home

from flyball.core.contract import Contract, FeatureRule
from flyball.data.ingest import LogSchema, fold

CONTRACT = Contract(features={"temp": FeatureRule(type="float"), "hour": FeatureRule(type="int")})
WALL = datetime.fromisoformat("2028-06-01T00:00:00+00:00")
YEAR = 365 * 24


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def log(app: Any, book: Any, *records: Any) -> None:
    """Ship and fold records of the model `bike`."""
    backends = app.backends
    book.ship(backends.blobs, list(records))
    models = {"bike": LogSchema(task="regression", contract=CONTRACT)}
    fold(backends.database, backends.blobs, backends.tables_url, models, WALL)


def test_predictions_from_before_a_long_pause_are_among_the_newest(app: Any, log_book: Any):
    old = [log_book.prediction(number) for number in range(5)]
    weeks = [log_book.prediction(YEAR - 14 * 24 + number) for number in range(2)]
    late = [log_book.prediction(YEAR), log_book.prediction(YEAR + 1, role="shadow")]
    log(app, log_book, *old, *weeks, *late)

    def newest(limit: int) -> list[str]:
        return [found["id"] for found in app.recent_predictions("bike", limit)]

    in_order = [f"prd_{n}" for n in (YEAR, YEAR - 14 * 24 + 1, YEAR - 14 * 24, 4, 3, 2, 1, 0)]
    for limit in (1, 2, 3, 4, 8, 100):
        assert newest(limit) == in_order[:limit]


def test_events_of_one_moment_keep_their_order_from_page_to_page(app: Any, log_book: Any):
    moment = {"at": log_book.start, "received_at": log_book.start}
    log(app, log_book, *(log_book.prediction(number, **moment) for number in (3, 0, 7, 8, 2, 1, 6, 5, 4)))
    whole = [found["id"] for found in app.recent_predictions("bike", 9)]
    assert whole == [f"prd_{number}" for number in reversed(range(9))]
    assert [found["id"] for found in app.recent_predictions("bike", 4)] == whole[:4]


def test_a_model_that_was_never_asked_has_no_recent_prediction(app: Any):
    assert app.recent_predictions("bike", 10) == []


def test_a_page_that_has_to_wait_too_long_says_so_and_offers_to_ask_again(control: Any):
    path = f"/models/{control.ids['model']}/predictions"
    control.ask("GET", path)  # starts the analysis when it has ended
    analyst = _analyst(control)
    pages: list[Any] = []

    def look() -> None:
        pages.append(control.ask("GET", path, headers={"Accept": "text/html"}, timeout=90))

    looks = [threading.Thread(target=look) for _ in range(2)]
    os.kill(analyst, signal.SIGSTOP)  # a turn without end
    try:
        for one in looks:
            one.start()
        # One of them, or a turn of the loop, is with the analysis; it can't end before the other has waited in vain.
        began = time.monotonic()
        while not pages and time.monotonic() < began + 60:
            time.sleep(0.05)
        first = list(pages)
    finally:
        os.kill(analyst, signal.SIGCONT)
    for one in looks:
        one.join(60)

    assert first, "nobody was told that it takes too long"
    refused = first[0].body.decode()
    assert first[0].status == 503
    assert "had no time for this within 5 s" in refused
    assert f'<a href="{path}">Try again</a>' in refused
    assert control.ask("GET", path).status == 200


def _analyst(control: Any) -> int:
    """The process id of the control plane's analysis."""
    children = Path(f"/proc/{control.process.pid}/task").glob("*/children")
    for child in " ".join(path.read_text() for path in children).split():
        if "flyball.operations.analyst" in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    raise AssertionError("no analysis runs")
