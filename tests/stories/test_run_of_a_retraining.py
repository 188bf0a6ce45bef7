from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from flyball_tests_runs import LINE, make_rows

from flyball.core.project import SplitSection
from flyball.core.values import Actor
from flyball.data.snapshots import take_snapshot
from flyball.governance.actors import local_actor
from flyball.governance.events import list_events
from flyball.pipelines.project_file import read_project
from flyball.pipelines.request import DataChoice, RunRequest
from flyball.pipelines.run import start_run
from flyball.pipelines.runs import get_run
from flyball.registry.aliases import move_alias
from flyball.registry.versions import get_version

POLICY = Actor("policy", "automation", "policy")
DECIDED_AT = datetime(2025, 3, 1, tzinfo=UTC)


def champion_of(run_home: Any, folder: Path) -> Any:
    """The first version of a folder's project, in service."""
    assert run_home.run(folder).version == 1
    shop = run_home.shop
    with shop.database.write() as conn:
        move_alias(conn, "line", "champion", 1, actor=local_actor(), why="a test", now=shop.clock.now())
        return get_version(conn, "line", 1)


def retrain(run_home: Any, folder: Path, champion: Any, rows: str, **more: Any) -> Any:
    """The result of a retraining of the champion on a snapshot of these rows."""
    shop = run_home.shop
    frame = pl.read_csv(io.StringIO(rows), try_parse_dates=True)
    snapshot = take_snapshot(frame, source="log", blobs=shop.blobs, now=shop.clock.now())
    request = RunRequest(
        model="line",
        project=read_project(folder).project,
        actor=POLICY,
        why="performance",
        tree=champion.source_tree,
        data=DataChoice("snapshot", snapshot.digest),
        champion=champion.number,
        signal_id="sig_1",
        incident_id="inc_1",
        decided_at=DECIDED_AT,
        **more,
    )
    return run_home.follow(start_run(run_home.engine, shop, request))


def test_a_retraining_uses_the_champions_own_files_and_the_snapshots_rows(
    run_home: Any, make_project: Callable[..., Path]
):
    folder = make_project()
    champion = champion_of(run_home, folder)
    (folder / "train.py").write_text("raise RuntimeError('work in progress')\n")
    (folder / "rows.csv").unlink()
    split = SplitSection(by="time", test=0.25, validation=0.0)
    moved = make_rows(count=300, seed=2, shift=5.0, start=500)
    result = retrain(run_home, folder, champion, moved, split=split, progressive=0.7)
    assert (result.state, result.version) == ("registered", 2), result.error
    shop = run_home.shop
    with shop.database.read() as conn:
        version = get_version(conn, "line", 2)
        comparison = get_run(conn, result.run_id).result["comparison"]
        finished = list_events(conn, kinds=["run.finished"], newest_first=True)[0]
    assert version.source_tree == champion.source_tree and version.lineage["git"] == champion.lineage["git"]
    assert version.lineage["rows"] == {"source": 300, "train": 225, "validation": 0, "test": 75}
    assert version.lineage["decided_at"] == "2025-03-01T00:00:00Z" and version.lineage["signal_id"] == "sig_1"
    assert version.snapshot == result.snapshot and version.author == "policy"
    # The champion errs by the shift of 4, the candidate by the noise: 0.4.
    assert comparison["rows"] == 75 and abs(comparison["loss"]["estimate"] + 3.6) < 0.2
    assert "gain" in result.gates[-1]["asks"] and result.gates[-1]["outcome"] == "pass"
    facts = finished.facts
    assert (facts["state"], facts["version"], facts["signal_id"]) == ("registered", 2, "sig_1")
    assert facts["incident_id"] == "inc_1" and facts["decided_at"] == "2025-03-01T00:00:00Z"


def test_a_retraining_without_gain_is_refused(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project()
    champion = champion_of(run_home, folder)
    # Trained where the shift was 5, judged where it is 1 again, as the champion has it.
    early = make_rows(count=200, seed=3, shift=5.0, start=500).splitlines()
    late = make_rows(count=100, seed=4, shift=1.0, start=700).splitlines()[1:]
    split = SplitSection(by="time", test=0.33, validation=0.0)
    result = retrain(run_home, folder, champion, "\n".join(early + late) + "\n", split=split)
    assert (result.state, result.version) == ("refused", 2)
    assert result.gates[-1]["outcome"] == "fail"


def test_logged_rows_that_break_the_contract_never_train(run_home: Any, make_project: Callable[..., Path]):
    folder = make_project(more='[contract.features.x]\ntype = "float"\nmin = 0\nmax = 10\n')
    champion = champion_of(run_home, folder)
    lines = make_rows(count=300, seed=2, shift=5.0, start=500).splitlines()
    broken = [line.replace(line.split(",")[1], "99.0", 1) for line in lines[1:21]]
    result = retrain(run_home, folder, champion, "\n".join([lines[0], *broken, *lines[21:]]) + "\n")
    assert result.state == "registered", result.error
    assert any("20 of 300 rows break the contract" in warning for warning in result.warnings)
    with run_home.shop.database.read() as conn:
        rows = get_version(conn, "line", 2).lineage["rows"]
    assert rows["train"] + rows["validation"] + rows["test"] == 280


def test_train_may_start_from_the_champions_own_object(run_home: Any, make_project: Callable[..., Path]):
    warm = LINE.replace("def train(X, y, params):", "def train(X, y, params, champion):").replace(
        'print("trained on"',
        'print("cold" if champion is None else f"from {type(champion).__name__} {champion.slope}"',
    )
    folder = make_project(train=warm)
    first = run_home.run(folder)
    assert "[train] cold" in run_home.log(first.run_id)
    shop = run_home.shop
    with shop.database.write() as conn:
        move_alias(conn, "line", "champion", 1, actor=local_actor(), why="a test", now=shop.clock.now())
    second = run_home.run(folder)
    # Another champion to start from is another input: nothing is taken from the cache.
    assert run_home.steps(second.run_id)["train"] == "done"
    assert "[train] from Line 2.0" in run_home.log(second.run_id)
