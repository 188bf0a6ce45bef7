"""The test `parity`: a worker of the real model server, a process of its own, answers as the model did in training."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flyball.backends.blobs.store import open_blobs
from flyball.backends.parent import end_session, last_line
from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import StepCrashed
from flyball.core.ids import new_id
from flyball.core.project import LogSection, ModelTestSection
from flyball.judge.behaviour.changes import stays
from flyball.judge.behaviour.found import Found, sizes
from flyball.pipelines.children.behaviour.results import Shown
from flyball.pipelines.children.behaviour.subject import Subject
from flyball.registry.bundle import pack, read_folder_manifest
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.golden import jsonable
from flyball.registry.formats.loading import load_predictor
from flyball.registry.route_table import RoutedVersion, RouteTable, publish

MOST_ROWS = 1000
START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
END_SECONDS = 10.0
# Two forms of one model add up in other orders; a probability, or a number relative to its size, differs by less.
TOLERANCE = 1e-6


def parity(test: ModelTestSection, subject: Subject) -> Shown:
    """Real rows, one a request as customers send them, beside the estimator's answers on all of them at once."""
    features = subject.test.select(subject.features).head(MOST_ROWS)
    native = subject.predictor  # one with code of its own has no other form, and is loaded once a process
    if not read_folder_manifest(subject.package).needs_process:
        native = load_predictor(subject.package, in_model_process=True, form="native")
    before = subject.numbers_of(native.predict_frame(features))
    rows = [
        {name: jsonable(value) for name, value in row.items() if value is not None}
        for row in features.to_dicts()
    ]
    with _served(subject) as connection:
        after = subject.numbers_of(_ask(subject.project.model.name, connection, rows))
    allowed = TOLERANCE if test.max_change is None else test.max_change
    scale = np.maximum(1.0, np.abs(before)) if test.max_change is None else np.ones_like(before)
    found = stays(before / scale, after / scale, max_change=allowed)
    moved = float(sizes(before, after).max()) if rows else 0.0
    because = f"{found.verdict.because}; the server's and the estimator's are up to {moved:.3g} apart"
    examples = [
        subject.example(rows[row], before=subject.shown(before[row]), after=subject.shown(after[row]))
        for row in found.worst
    ]
    return Found(type(found.verdict)(found.verdict.outcome, because), found.worst), examples


@contextmanager
def _served(subject: Subject) -> Iterator[http.client.HTTPConnection]:
    """A connection to a worker that serves the package from a home of its own, which goes with it.

    A pair of sockets and no port: where strangers' code is kept apart, there is no network.
    """
    model = subject.project.model
    manifest = read_folder_manifest(subject.package)
    with ScratchFolder("parity") as folder:
        home = folder / "home"
        blobs = open_blobs(f"file://{home / 'objects'}")
        table = RouteTable(
            model=model.name,
            revision=1,
            published_at=datetime.now(UTC),
            task=model.task,
            target=model.target,
            champion=RoutedVersion(number=1, bundle=pack(subject.package, blobs), isolated=manifest.isolated),
            contract=subject.contract,
            positive=subject.positive,
            log=LogSection(durability="none"),
            serve=subject.project.serve,
        )
        publish(blobs, table)
        log = folder / "server.log"
        ours, theirs = socket.socketpair()
        connection = http.client.HTTPConnection("localhost")
        connection.auto_open, connection.sock = 0, ours
        with theirs:
            process = _start(home, theirs.fileno(), log)
        try:
            _wait(connection, model.name, log)
            ours.settimeout(ANSWER_SECONDS)
            yield connection
        finally:
            connection.close()
            end_session(process, END_SECONDS)


def _start(home: Path, connection: int, log: Path) -> subprocess.Popen[bytes]:
    """By name: the packages that train and those that serve share no code but the bundle's."""
    for name in ("cache/metrics", "cache/routes", "logs", "spool"):
        (home / name).mkdir(parents=True)
    told = {
        "home": str(home),
        "objects_url": f"file://{home / 'objects'}",
        "server": new_id("srv"),
        "slot": 0,
    }
    spec = {**told, "parent": os.getpid(), "options": {}, "connection": connection}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flyball.serving.worker"],
            env={**os.environ, "FLYBALL_HOME": str(home), "FLYBALL_WORKER_SPEC": json.dumps(spec)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(connection,),
            start_new_session=True,
        )


def _wait(connection: http.client.HTTPConnection, model: str, log: Path) -> None:
    """Until the model is served. Raises StepCrashed, with the worker's last line; one that dies hangs up."""
    deadline = time.monotonic() + START_SECONDS
    with suppress(OSError, http.client.HTTPException):
        while (left := deadline - time.monotonic()) > 0:
            connection.sock.settimeout(left)
            connection.request("GET", f"/v2/models/{model}/ready")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return
            time.sleep(0.05)
    raise StepCrashed(f"the model server for the parity test did not get ready: {last_line(log)}")


def _ask(model: str, connection: http.client.HTTPConnection, rows: list[dict[str, Any]]) -> Answers:
    """The server's answers, a request for each row. Raises StepCrashed for a request that is not answered."""
    predictions: list[Any] = []
    scores: list[list[float]] = []
    for number, row in enumerate(rows):
        body = json.dumps({"rows": [row]})
        connection.request("POST", f"/v1/models/{model}/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise StepCrashed(
                f"the model server answered row {number} with status {response.status}: {str(answer)[:300]}"
            )
        predictions += answer["predictions"]
        scores += answer.get("scores") or []
    return Answers(predictions, scores or None)
