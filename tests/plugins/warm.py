"""Runs `flyball` in processes that are forked off one that has imported it already.

Each command is a process of its own, with its own environment, folder and exit code, as from a shell; only the half a
second of imports is spent once. What is long-lived, or needs an environment that Python reads as it starts, is started
as `python -m flyball` instead: see `Whole`.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

# Everything that commands load before they do anything, and nothing that starts threads, which a fork would lose.
IMPORTED = """
flyball.app flyball.cli.main flyball.operations.opening flyball.operations.running
dbos psycopg sqlalchemy.dialects.postgresql sqlalchemy.dialects.sqlite
"""


class Ended(NamedTuple):
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run_flyball(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> Ended:
    """How `flyball` with these arguments ends. Raises TimeoutError once it was killed for taking longer."""
    own = {name: value for name, value in environment.items() if not name.startswith("FLYBALL_")}
    path = _waiting(tuple(sorted(own.items())))
    with (
        socket.socket(socket.AF_UNIX) as wire,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        wire.connect(path)
        task = json.dumps([list(arguments), str(folder), dict(environment)]).encode() + b"\n"
        socket.send_fds(wire, [task], [out.fileno(), err.fileno()])
        told = wire.makefile()
        process = int(told.readline())
        if not select.select([wire], [], [], timeout)[0]:
            os.kill(process, signal.SIGKILL)
            raise TimeoutError(f"flyball {' '.join(arguments)} was killed after {timeout:g} s")
        code = int(told.readline())
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return Ended(code, *texts)


@functools.cache
def _waiting(environment: tuple[tuple[str, str], ...]) -> str:
    """The socket of a process that has everything imported in this environment; it ends with this process."""
    path = str(Path(tempfile.mkdtemp(prefix="flyball-warm-")) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, path],
        env=dict(environment),
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.read(1) == b"!", "the waiting process did not get ready"
    for end in (process.wait, process.stdin.close):  # in the reverse order
        atexit.register(end)
    return path


def wait_for_task(path: str) -> list[Any]:
    """Returns in a process of its own for each task, with the task; ends when the maker's pipe does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    os.write(1, b"!")
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            shutil.rmtree(Path(path).parent)
            os._exit(0)
        wire, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return attend(wire)
        wire.close()


def attend(wire: socket.socket) -> list[Any]:
    """Returns in the command's own process, with the task; stays behind to tell how that one ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, descriptors, _, _ = socket.recv_fds(wire, 1 << 20, 2)
    while not data.endswith(b"\n"):
        data += wire.recv(1 << 20)
    process = os.fork()
    if process == 0:
        wire.close()
        for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *descriptors]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        task: list[Any] = json.loads(data)
        return task
    wire.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    with suppress(BrokenPipeError):  # who asked has killed it
        wire.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    for module in IMPORTED.split():
        importlib.import_module(module)
    arguments, folder, environment = wait_for_task(sys.argv[1])
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["flyball", *arguments]
    sys.path.insert(0, folder)
    from flyball.cli.main import main

    main()
