"""The analysis process: folds the log, analyses windows, looks at rollouts, finds single predictions.

It holds the table libraries (polars, deltalake, scipy) so that the control plane need not; the controller starts it
when there is work and it ends by itself when there is none. One JSON line in, one JSON line out, in order.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.db.lease import assert_holder
from flyball.backends.parent import die_with
from flyball.core.clock import parse_moment
from flyball.core.errors import FlyballError
from flyball.core.settings import read_settings
from flyball.operations.opening import Backends, open_backends
from flyball.operations.turn import LEASE, take_turn

if TYPE_CHECKING:
    from flyball.data.fold_memory import FoldMemory

IDLE_SECONDS = 20.0


def main(parent: int) -> None:
    """Answer commands from standard input until it closes or nothing was asked for 20 seconds.

    parent: the control plane's process; whoever comes after it starts an analysis of its own.
    """
    die_with(parent)
    # Standard output carries answers only: whatever a library prints goes to the log.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    from flyball.data.fold_memory import FoldMemory

    backends = open_backends(read_settings())
    memory = FoldMemory(backends.tables_url)
    buffer = b""
    try:
        while True:
            ready, _, _ = select.select([0], [], [], IDLE_SECONDS)
            piece = os.read(0, 65536) if ready else b""
            if not piece:
                return
            buffer += piece
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                answers.write(msgspec.json.encode(_answer(backends, memory, line)) + b"\n")
    finally:
        backends.close()


def _answer(backends: Backends, memory: FoldMemory, line: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(line)
        return {"ok": True, "value": _do(backends, memory, request)}
    except FlyballError as error:
        return {"ok": False, "code": error.code, "message": error.message}
    except Exception as error:
        # The edge of this process, whatever a table library raises: logged here, told to the controller, which counts
        # it and asks again. A process that died of it would have to read every table anew.
        logging.getLogger(__name__).exception("%s failed", line[:80])
        return {"ok": False, "code": "internal", "message": f"{type(error).__name__}: {error}"}


def _do(backends: Backends, memory: FoldMemory, request: dict[str, Any]) -> Any:
    if request["command"] == "turn":
        # Under the lease of the controller that asks: it may be paused, and replaced, while this goes on.
        fence = partial(assert_holder, name=LEASE, token=request["token"])
        return take_turn(backends.fenced(fence), parse_moment(request["wall"]), memory)
    if request["command"] == "prediction":
        from flyball.operations.tracing import trace_prediction

        return msgspec.to_builtins(trace_prediction(backends, request["id"]))
    if request["command"] == "recent":
        from flyball.operations.tracing import recent_predictions

        return recent_predictions(backends, request["model"], request["limit"])
    raise ValueError(f"unknown command {request['command']!r}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
