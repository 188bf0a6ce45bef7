"""The example's own settings on its own data, offline: worth retraining in order, nothing to do when
shuffled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "bike_policy"

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def scripts() -> Iterator[None]:
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    # `stream` and `loop` are common names; another folder's must not be taken for these.
    for name in {"stream", "loop"} & set(sys.modules) - before:
        del sys.modules[name]


def test_in_order_the_loop_wins_most_of_what_monthly_retraining_would():
    from loop import Loop
    from stream import STREAM_START, Stream, read_project, read_rows

    stream = Stream(read_rows(), read_project())
    result = Loop(stream).run()
    rows = stream.at >= STREAM_START
    frozen, served = (np.abs(stream.y - answers)[rows].mean() for answers in (result.frozen, result.served))
    assert 68 <= frozen <= 75
    assert served <= 52
    assert 1 <= len(result.promotions) <= result.retrainings <= 10
    first = result.signals[0][2]
    assert first.cause in ("covariate-shift", "concept-drift")
    assert all(diagnosis.cause != "broken-data" for _, _, diagnosis in result.signals)


def test_shuffled_the_loop_sits_still():
    from loop import Loop
    from stream import Stream, read_project, read_rows

    retrainings = promotions = 0
    for seed in range(1, 10):
        stream = Stream(read_rows(shuffle_seed=seed), read_project())
        result = Loop(stream).run()
        retrainings += result.retrainings
        promotions += len(result.promotions)
        for at, before, after in result.replaced:
            rest = stream.at >= at
            assert np.abs(stream.y - after)[rest].mean() <= np.abs(stream.y - before)[rest].mean()
    assert retrainings <= 2
    assert promotions <= 2
