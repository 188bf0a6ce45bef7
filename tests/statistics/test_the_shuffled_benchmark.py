"""The benchmark of the shuffled streams through real servers: its short form, its streams, and its verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "bike_policy"
SCRIPT = FOLDER / "shuffled_served.py"


@pytest.mark.long
def test_two_seeds_and_three_weeks_are_served_without_a_loss_and_the_loop_sits_still(
    tmp_path: Path, child_environment: dict[str, str]
):
    out = tmp_path / "out"
    command = [sys.executable, str(SCRIPT), "--seeds", "2", "--weeks", "3", "--out", str(out)]
    with subprocess.Popen(
        command, env=child_environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as benchmark:
        try:
            said, complained = benchmark.communicate(timeout=120)
        finally:
            benchmark.terminate()  # which ends its servers too
    assert benchmark.returncode == 0, complained
    results = json.loads((out / "results.json").read_text())
    assert results["passed"] is True
    assert results["totals"]["rows"] == sum(seed["rows"] for seed in results["seeds"]) > 900
    assert (results["totals"]["lost"], results["totals"]["retrainings"]) == (0, 0)
    for seed in results["seeds"]:
        assert seed["windows"] == 2
        # Nothing was promoted: every answer is the first version's, and no row came after a promotion.
        assert seed["served"] == seed["frozen"] > 30
        assert (seed["rows_after"], seed["served_after"], seed["replaced"]) == (0, None, [])
    assert results["seeds"][0]["frozen"] != results["seeds"][1]["frozen"]
    assert said.splitlines()[-1].startswith("passed: 2 seeds, 0 retrainings (at most 2)")


def test_its_streams_are_those_of_the_offline_benchmark(script_of: Callable[[Path], ModuleType]):
    dealt = script_of(SCRIPT).deal(3)
    offline = script_of(FOLDER / "stream.py").read_rows(shuffle_seed=3)
    assert dealt.drop("ts").equals(offline.drop("ts"))
    assert dealt["ts"].dt.epoch("s").equals(offline["ts"].dt.epoch("s"))


def result(**changed: Any) -> dict[str, Any]:
    """A seed in which the loop had nothing to do."""
    names = ("retrainings", "promotions", "signals", "windows", "windows_with_a_signal", "rows", "lost")
    return dict.fromkeys(names, 0) | {"errors": [], "replaced": []} | changed


def promotion(change: float) -> dict[str, Any]:
    return {"at": "2012-01-20T00:00:00Z", "rows": 8000, "change": change}


@pytest.mark.parametrize(
    ("seeds", "passed"),
    [
        ([result(), result()], True),
        ([result(retrainings=1), result(retrainings=1)], True),
        ([result(retrainings=1), result(retrainings=2)], False),
        ([result(promotions=2, replaced=[promotion(-0.4), promotion(0.0)])], True),
        ([result(promotions=3, replaced=[promotion(-0.4)] * 3)], False),
        ([result(promotions=1, replaced=[promotion(0.4)])], False),
        ([result(lost=1)], False),
        ([result(errors=["row 3: 503"])], False),
    ],
)
def test_it_passes_with_two_retrainings_and_promotions_in_all_and_none_for_the_worse(
    script_of: Callable[[Path], ModuleType], seeds: list[dict[str, Any]], passed: bool
):
    benchmark = script_of(SCRIPT)
    report = benchmark.summarise(seeds) | {"seconds": 1.0}
    assert report["passed"] is passed
    assert benchmark.verdict(report).startswith("passed" if passed else "FAILED")
