"""`flyball score` that is killed, loses its server or runs out of room: nothing half is left, and a repeat goes on."""

from __future__ import annotations

import os
import random
import resource
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flyball_tests_whole_payers import payers

from flyball.core.errors import StorageFull
from flyball.data.log_tables import PREDICTIONS, scan_generations
from flyball.operations.scoring.output import open_draft
from flyball.operations.server_lock import job_lock, server_holder


def many(path: Path, times: int) -> Path:
    """A thousand rows, some times over, each with a client of its own."""
    rows = pl.DataFrame(payers(1000), infer_schema_length=None)
    whole = pl.concat([rows] * times).with_columns(client=pl.format("c{}", pl.int_range(pl.len())))
    whole.write_parquet(path)
    return path


def written_to(draft: Path) -> bool:
    """Whether a draft holds rows already."""
    return any(path.stat().st_size > 0 for path in draft.glob("whole.*"))


def test_a_job_that_is_killed_leaves_no_file_and_its_repeat_logs_every_id_once(
    payers_project: Any, tmp_path: Path
):
    whole, output = payers_project, tmp_path / "out.csv"
    job = ("score", "payers", str(many(tmp_path / "rows.parquet", 12)), str(output), "--key", "night-1")
    running = whole.start(*job)
    whole.wait(lambda: written_to(tmp_path / ".out.csv.scoring"), "the first rows")
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not output.exists()
    whole.wait(lambda: server_holder(whole.home) is None, "the end of the job's own server")
    cut_off = whole.command("score", "payers", "month.csv", str(output), "--key", "night-1")
    assert cut_off[0] == 2 and "stands for something else" in cut_off[2], "the killed job holds its key"
    whole.flyball(*job)
    written = pl.read_csv(output)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert written.height == written["prediction_id"].n_unique() == 12_000

    segments = sum(path.stat().st_size for path in (whole.home / "objects" / "segments").glob("*"))
    assert segments > 0
    whole.flyball("monitor", "payers", allow=(0, 1, 4))
    (table,) = scan_generations(f"file://{whole.home}/objects/tables", PREDICTIONS, "payers")
    kept = table.select("id", "conflict").collect()
    assert (
        kept["id"].sort().equals(written["prediction_id"].sort().rename("id")) and not kept["conflict"].any()
    )


def test_a_server_that_dies_in_the_middle_ends_the_job_with_what_to_do(payers_project: Any, tmp_path: Path):
    whole, output = payers_project, tmp_path / "out.csv"
    rows = many(tmp_path / "rows.parquet", 60)
    server = whole.start("serve", "--port", str(whole.serve_port))
    whole.wait(lambda: whole.call(whole.serve_port, "GET", "/v2/models/payers/ready")[0] == 200, "the server")
    running = whole.start("score", "payers", str(rows), str(output), "--key", "night-1")
    whole.wait(lambda: written_to(tmp_path / ".out.csv.scoring"), "the first rows")
    os.killpg(server.pid, signal.SIGKILL)
    assert running.wait(30) == 3, whole.log("score")
    told = whole.log("score")
    assert "does not answer any more" in told and "with --key night-1 begins again safely" in told, told
    assert [path.name for path in tmp_path.iterdir()] == ["payers", "rows.parquet"]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_an_output_without_room_is_told_and_leaves_nothing(tmp_path: Path, name: str):
    chance = random.Random(7)
    frames = [pl.DataFrame({"score": [chance.random() for _ in range(60_000)]}) for _ in range(2)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))  # each part has room, the whole has not
    try:
        with (
            pytest.raises(StorageFull, match=f"no room for {tmp_path / name}"),
            open_draft(tmp_path / name, "k", lambda: None, print) as draft,
        ):
            for frame in frames:
                draft.write(frame)
            draft.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_flyball_up_waits_for_a_job_that_has_a_server_of_its_own(payers_project: Any):
    whole = payers_project
    with job_lock(whole.home) as is_mine:
        assert is_mine
        whole.up(wait=False)
        whole.wait(
            lambda: f"waiting for `flyball score` (process {os.getpid()})" in whole.log("up"), "the word"
        )
        assert whole.pids("serving.supervisor") == []
    whole.wait(lambda: whole.call(whole.serve_port, "GET", "/v2/health/ready")[0] == 200, "the model server")
