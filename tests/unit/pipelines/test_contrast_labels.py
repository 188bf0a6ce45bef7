"""What a contrast says of differences: one by one over all rows, corrected for their number in slices."""

from __future__ import annotations

from flyball.core.values import Interval
from flyball.judge.metrics.measure import Paired
from flyball.pipelines.children.contrasting import _labelled


def paired(p: float) -> Paired:
    return Paired(
        metric="mae",
        champion=5.0,
        candidate=6.0,
        estimate=1.0,
        difference=Interval(0.4, 1.6),
        row_count=300,
        group_count=300,
        identical=False,
        p=p,
    )


def test_a_slice_needs_more_than_all_rows_to_be_called_worse():
    pairs = {("mae", "", ""): paired(0.005)}
    pairs |= {("mae", "region", f"part {i}"): paired(0.005 if i == 0 else 0.6) for i in range(10)}
    found = {(line["column"], line["level"]): line["label"] for line in _labelled(pairs)}
    assert found["", ""] == "worse"
    assert set(found.values()) == {"worse", "unclear"}
    assert found["region", "part 0"] == "unclear"


def test_what_is_sure_over_all_rows_does_not_lower_what_is_asked_of_slices():
    pairs = {(metric, "", ""): paired(1e-9) for metric in ("mae", "rmse", "r2", "mape")}
    pairs |= {("mae", "region", f"part {i}"): paired(0.01 if i == 0 else 0.6) for i in range(4)}
    assert {line["label"] for line in _labelled(pairs) if line["column"]} == {"unclear"}
