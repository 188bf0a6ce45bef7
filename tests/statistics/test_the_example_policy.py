"""The example's own settings on its own data, offline: worth retraining in order, nothing to do when
shuffled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "bike_policy"

pytestmark = pytest.mark.long


def test_in_order_the_loop_wins_most_of_what_monthly_retraining_would(
    script_of: Callable[[Path], ModuleType],
):
    offline, loop = script_of(FOLDER / "stream.py"), script_of(FOLDER / "loop.py")
    stream = offline.Stream(offline.read_rows(), offline.read_project())
    result = loop.Loop(stream).run()
    rows = stream.at >= offline.STREAM_START
    frozen, served = (np.abs(stream.y - answers)[rows].mean() for answers in (result.frozen, result.served))
    assert 68 <= frozen <= 75
    assert served <= 52
    assert 1 <= len(result.promotions) <= result.retrainings <= 10
    first = result.signals[0][2]
    assert first.cause in ("covariate-shift", "concept-drift")
    assert all(diagnosis.cause != "broken-data" for _, _, diagnosis in result.signals)


def test_shuffled_the_loop_sits_still(script_of: Callable[[Path], ModuleType]):
    offline, loop = script_of(FOLDER / "stream.py"), script_of(FOLDER / "loop.py")
    retrainings = promotions = 0
    for seed in range(1, 10):
        stream = offline.Stream(offline.read_rows(shuffle_seed=seed), offline.read_project())
        result = loop.Loop(stream).run()
        retrainings += result.retrainings
        promotions += len(result.promotions)
        for at, before, after in result.replaced:
            rest = stream.at >= at
            assert np.abs(stream.y - after)[rest].mean() <= np.abs(stream.y - before)[rest].mean()
    assert retrainings <= 2
    assert promotions <= 2
