"""The model server that a job asks: the one that runs on a home, or one of its own that ends with the job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flyball.backends.home_socket import ask_socket
from flyball.backends.parent import end_session, last_line
from flyball.core.errors import NoChampion, NotFound, Unavailable
from flyball.core.settings import Settings
from flyball.data.spool import list_closed
from flyball.operations.asking import find_server
from flyball.operations.opening import Backends
from flyball.operations.server_lock import job_holder, job_lock

START_SECONDS = 60.0
END_SECONDS = 60.0
_POLL_SECONDS = 0.1
_MOST_WORKERS = 4


@contextmanager
def server_of(
    backends: Backends, model: str, check: Callable[[], object], say: Callable[[str], None]
) -> Iterator[str]:
    """The address of a model server of a home. Where none runs, one is started for this model and the block.

    One of another job is not shared, as it ends with that; its end is waited for. check: raises when the time is over.
    Raises ModelNotFound, NoChampion, Unavailable.
    """
    settings, is_told = backends.settings, False
    while True:
        url = None if job_holder(settings.home) is not None else _find(settings.home)
        if url is not None:
            yield url
            return
        with job_lock(settings.home) as is_mine:
            if is_mine:
                _check_deployed(backends, model)
                with _served(settings, model, check) as own:
                    say("no model server runs on this home; one was started for this job")
                    yield own
                _tell_left(settings, say)
                return
        if not is_told:
            say("waiting for another job, which has a model server of its own on this home")
            is_told = True
        check()
        time.sleep(_POLL_SECONDS)


def _find(home: Path) -> str | None:
    try:
        return find_server(home)
    except NotFound:
        return None


def _check_deployed(backends: Backends, model: str) -> None:
    """Raises ModelNotFound, or NoChampion for a model with nothing in service."""
    from flyball.registry.models import get_model
    from flyball.registry.routes import current

    with backends.database.read() as conn:
        get_model(conn, model)
        if current(conn, model) is None:
            raise NoChampion(model)


@contextmanager
def _served(settings: Settings, model: str, check: Callable[[], object]) -> Iterator[str]:
    """The address of a model server on a free port of loopback; it ends in order, its log shipped, with the block."""
    settings.log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = settings.log_folder / "score-serve.log"
    workers = str(min(os.cpu_count() or 1, _MOST_WORKERS))
    arguments = ["--port", "0", "--workers", workers, "--parent", str(os.getpid()), model]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flyball.serving.supervisor", *arguments],
            env={
                **os.environ,
                "FLYBALL_HOME": str(settings.home),
                "FLYBALL_OBJECTS": settings.objects_url,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is this process's to hear: its requests are ended first
        )
    try:
        yield _wait(process, settings.home, model, log, check)
    finally:
        end_session(process, END_SECONDS)


def _wait(
    process: subprocess.Popen[bytes], home: Path, model: str, log: Path, check: Callable[[], object]
) -> str:
    """The address, once every worker has the model. Raises Unavailable, with what the server said last."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        check()
        status = ask_socket(home / "serve.sock", {"command": "status"})
        if (
            status is not None
            and status["pid"] == process.pid
            and status["ready"]
            and model in status["models"]
        ):
            return f"http://127.0.0.1:{status['port']}"
        time.sleep(_POLL_SECONDS)
    raise Unavailable(
        f"the model server for this job did not get ready; {log.name} says at last: {last_line(log)}"
    )


def _tell_left(settings: Settings, say: Callable[[str], None]) -> None:
    left = len(list_closed(settings.spool_folder))
    if left:
        say(f"{left} segments of the prediction log wait on this machine for the object store")
