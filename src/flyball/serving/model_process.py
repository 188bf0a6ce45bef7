"""One version in a process of its own: foreign code runs here, without credentials, and answers over one socket.

Started by a worker as `python -P -m flyball.serving.model_process '{…}'`; ends when the worker closes the socket or
dies. Requests are answered one at a time, in order, so that a crash names the request that caused it.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec

from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.confine import confine as hide
from flyball.backends.parent import die_with
from flyball.serving.frames import READY, FrameReader, Reply, Start, decode_ask, pack

PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
LONGEST_PROBLEM = 500
LARGEST_FILE_BYTES = 64 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Load the version, say so, answer until the socket closes."""
    start = msgspec.json.decode(arguments[0].encode(), type=Start)
    confine(start)
    with socket.socket(fileno=start.descriptor) as connection:
        try:
            from flyball.serving.bundles import open_predictor

            predictor = open_predictor(Path(start.folder), start.digest)
        except Exception as error:  # noqa: BLE001 - the edge of foreign code: the worker counts and reports it
            connection.sendall(pack(Reply(READY, problem=describe(error), kind="load")))
            return 1
        connection.sendall(pack(Reply(READY)))
        reader = FrameReader()
        while data := connection.recv(1 << 20):
            for frame in reader.feed(data):
                ask = decode_ask(frame)
                if not ask.rows:  # the worker measures the way
                    connection.sendall(pack(Reply(ask.id, [])))
                    continue
                try:
                    answers = predictor.predict_rows(ask.rows)
                    reply = pack(Reply(ask.id, answers.predictions, answers.scores))
                except MemoryError as error:
                    reply = pack(Reply(ask.id, problem=describe(error), kind="memory"))
                except Exception as error:  # noqa: BLE001 - as above
                    reply = pack(Reply(ask.id, problem=describe(error), kind="exception"))
                connection.sendall(reply)
    return 0


def confine(start: Start) -> None:
    """Bind this process to its worker's life and its memory limit.

    Where the platform allows it, it has no network and sees nothing of the home but its own model.
    """
    die_with(start.parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole terminal; the worker ends us
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    limit = start.memory_mb * 1024 * 1024
    # Data, not address space: libraries map far more than they use. The worker watches the resident size as well.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    if not start.network and libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(
            CLONE_NEWUSER | CLONE_NEWNET
        )  # without privileges, in a namespace of its own; or not at all
    hide(Confinement(hidden=start.hidden, read=[start.folder]))


def describe(error: BaseException) -> str:
    """Kind and message of an exception, short enough for a record."""
    return f"{type(error).__name__}: {error}"[:LONGEST_PROBLEM]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
