"""A child process of a retraining: `python -m flyball.retraining.child payload.json result.json`.

Kinds `rows` and `snapshot` are our own code and read the stores; `train` runs the project's code on a file of rows,
without stores or credentials. The result is `{"value": …}` or `{"error": …}`.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.workflows.outcome import recorded

# Held-out rows for the gates reach back no further than so many windows.
MOST_TEST_WINDOWS = 12


def main(arguments: list[str]) -> None:
    """Do what the payload asks and write the result next to it, whole or not at all."""
    payload_path, result_path = map(Path, arguments)
    payload = msgspec.json.decode(payload_path.read_bytes())
    result = recorded(payload["kind"], _KINDS[payload["kind"]], payload)
    sys.stdout.flush()
    partial = result_path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(result))
    partial.replace(result_path)
    # Threads that user code left behind must not keep the process; nothing is left to be written.
    os._exit(0)


def _rows(payload: dict[str, Any]) -> dict[str, Any]:
    """Gather the rows that may train into a file, and what names those of each fold into another; facts about all."""
    from flyball.backends.blobs.store import open_blobs
    from flyball.retraining.folds import FoldsTask, describe_trial
    from flyball.retraining.rows import RowsTask, gather_rows

    task = msgspec.convert(payload["task"], RowsTask)
    rows, facts = gather_rows(task, open_blobs(payload["blobs"]), payload["tables"])
    trial = describe_trial(rows, msgspec.convert(payload["trial"], FoldsTask))
    Path(payload["trial_file"]).write_bytes(msgspec.json.encode(trial))
    partial = Path(payload["file"]).with_suffix(".partial")
    rows.write_parquet(partial, compression="lz4")
    partial.replace(payload["file"])
    return facts


def _snapshot(payload: dict[str, Any]) -> dict[str, Any]:
    """Keep the chosen rows as a snapshot; how many of the newest make up enough whole windows for the gates."""
    import polars as pl

    from flyball.backends.blobs.store import open_blobs
    from flyball.core.clock import parse_moment
    from flyball.data.snapshots import take_snapshot
    from flyball.retraining.rows import AT, snapshot_rows

    rows = pl.read_parquet(payload["file"])
    if payload["start"] is not None:
        rows = rows.filter(pl.col(AT) >= parse_moment(payload["start"]))
    chosen = snapshot_rows(rows)
    manifest = take_snapshot(
        chosen,
        source=payload["source"],
        blobs=open_blobs(payload["blobs"]),
        now=parse_moment(payload["now"]),
    )
    until, window = parse_moment(payload["test_until"]), timedelta(seconds=payload["window_seconds"])
    test_rows, windows = 0, 0
    while test_rows < payload["least_test_rows"] and windows < MOST_TEST_WINDOWS:
        windows += 1
        test_rows = rows.filter(pl.col(AT) >= until - windows * window).height
    return {
        "snapshot": manifest.digest,
        "rows": chosen.height,
        "test_rows": test_rows,
        "test_windows": windows,
    }


def _train(payload: dict[str, Any]) -> dict[str, Any]:
    """Make the trainings of a trial; their losses are in a file by then."""
    from flyball.retraining.training_child import TrainTask, train_all

    train_all(msgspec.convert(payload["task"], TrainTask))
    return {}


_KINDS = {"rows": _rows, "snapshot": _snapshot, "train": _train}


if __name__ == "__main__":
    main(sys.argv[1:])
