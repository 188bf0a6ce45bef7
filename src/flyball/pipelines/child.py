"""A child process of a run: `python -m flyball.pipelines.child payload.json result.json`.

The payload names its kind; each kind imports only what it needs. The result is `{"value": …}` or `{"error": …}`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.child import OUT_OF_MEMORY
from flyball.backends.workflows.outcome import recorded


def main(arguments: list[str]) -> None:
    """Do what the payload asks and write the result next to it, whole or not at all."""
    payload_path, result_path = map(Path, arguments)
    payload = msgspec.json.decode(payload_path.read_bytes())
    try:
        result = recorded(payload["kind"], _work, payload)
    except _OutOfMemory:
        os.write(2, b"MemoryError: the memory limit of this process was reached\n")
        os._exit(OUT_OF_MEMORY)
    sys.stdout.flush()
    partial = result_path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(result))
    partial.replace(result_path)
    # Threads that user code left behind must not keep the process; nothing is left to be written.
    os._exit(0)


class _OutOfMemory(BaseException):
    """Memory ran out: told by exit code, since an answer would need memory."""


def _work(payload: dict[str, Any]) -> dict[str, Any]:
    try:
        # As the parent will read it: times and structs become text and tables here, not at the check for plain values.
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(_dispatch(payload)))
        return plain
    except MemoryError:
        raise _OutOfMemory from None


def _dispatch(payload: dict[str, Any]) -> dict[str, Any]:
    kind = payload["kind"]
    if kind == "prepare":
        from flyball.pipelines.children.prepare import prepare

        return prepare(payload)
    if kind == "train":
        from flyball.pipelines.children.train import train

        return train(payload)
    if kind == "evaluate":
        from flyball.pipelines.children.evaluate import evaluate

        return evaluate(payload)
    if kind == "test":
        from flyball.pipelines.children.behaviour.testing import run_model_tests

        return run_model_tests(payload)
    if kind == "train-tests":
        from flyball.pipelines.children.behaviour.training import run_training_tests

        return run_training_tests(payload)
    if kind == "functions":
        from flyball.pipelines.children.behaviour.functions import run_functions

        return run_functions(payload)
    if kind == "own-tests":
        from flyball.pipelines.children.own_tests import run_own_tests

        return run_own_tests(payload)
    if kind == "ask":
        from flyball.pipelines.children.asking import ask

        return ask(payload)
    if kind == "contrast":
        from flyball.pipelines.children.contrasting import contrast

        return contrast(payload)
    if kind == "check":
        from flyball.pipelines.user_code import check_entries

        return check_entries(payload)
    raise ValueError(f"unknown kind of child {kind!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
