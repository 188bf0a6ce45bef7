"""Profiles of columns, how they add up, and distances between them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput, NotEnoughEvidence
from flyball.judge.drift.profile import (
    MAX_BINS,
    NumericBins,
    Reference,
    Summary,
    bucket_value,
    fit_reference,
    merge,
    summarise,
)
from flyball.judge.drift.statistics import (
    compare,
    drift_scores,
    js_distance,
    ks_distance,
    stability_index,
    variation_distance,
)

numbers = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=0, max_size=50)
texts = st.lists(st.none() | st.sampled_from(["a", "b", "c", "new"]), min_size=0, max_size=50)
counts = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(lambda c: np.array(c, dtype=float))

RNG = np.random.default_rng(1)
REFERENCE = fit_reference(
    {"x": RNG.normal(size=5000), "kind": RNG.choice(["a", "b", "c"], size=5000).tolist()},
    {"x": "numeric", "kind": "category"},
)


def test_a_reference_keeps_at_most_64_bins_of_about_equal_rows():
    bins = REFERENCE.features["x"]
    assert isinstance(bins, NumericBins)
    rows = REFERENCE.summary.features["x"].counts
    assert len(rows) == len(bins.edges) + 1 == MAX_BINS
    assert max(rows) < 2 * min(rows)


def test_few_values_get_a_bin_each():
    reference = fit_reference({"hr": [0, 1, 1, 23]}, {"hr": "numeric"})
    assert reference.summary.features["hr"].counts == [1, 2, 1]


def test_every_row_is_counted_once():
    summary = summarise(
        REFERENCE, {"x": [0.1, None, 99.0, -99.0, float("nan")], "kind": ["a", None, "z", "z", "b"]}
    )
    x, kind = summary.features["x"], summary.features["kind"]
    assert (sum(x.counts), x.missing, x.above, x.below) == (1, 2, 1, 1)
    assert (sum(kind.counts), kind.missing, kind.unseen) == (2, 1, 2)
    assert kind.unseen_levels == {"z": 2}
    assert (x.low, x.high) == (-99.0, 99.0)


def test_a_column_that_did_not_come_is_missing_in_every_row():
    summary = summarise(REFERENCE, {"x": [0.0, 1.0]})
    assert summary.features["kind"].missing == 2


@given(numbers, texts, st.integers(0, 50))
def test_windows_add_up_to_the_whole(xs: list[float | None], kinds: list[str | None], cut: int):
    rows = min(len(xs), len(kinds))
    whole = {"x": xs[:rows], "kind": kinds[:rows]}
    parts = [{name: column[:cut] for name, column in whole.items()}]
    parts.append({name: column[cut:] for name, column in whole.items()})
    merged = merge(*(summarise(REFERENCE, part) for part in parts))
    expected = summarise(REFERENCE, whole)
    assert merged.row_count == expected.row_count
    for name in whole:
        one, other = merged.features[name], expected.features[name]
        exact = [msgspec.structs.replace(c, total=0.0, squares=0.0) for c in (one, other)]
        assert exact[0] == exact[1]
        assert (one.total, one.squares) == pytest.approx((other.total, other.squares))


def test_summaries_of_other_references_do_not_merge():
    other = summarise(fit_reference({"x": [1.0, 2.0]}, {"x": "numeric"}), {"x": [1.0]})
    with pytest.raises(BadInput):
        merge(summarise(REFERENCE, {"x": [1.0]}), other)


def test_profiles_survive_their_own_json_and_are_small():
    summary = summarise(REFERENCE, {"x": RNG.normal(size=1000), "kind": ["a"] * 1000})
    text = msgspec.json.encode(summary)
    assert msgspec.json.decode(text, type=Summary) == summary
    assert msgspec.json.decode(msgspec.json.encode(REFERENCE), type=Reference) == REFERENCE
    assert len(text) < 10_000


@given(st.floats(1e-6, 1e6))
def test_magnitudes_are_kept_to_a_few_percent(value: float):
    summary = summarise(REFERENCE, {"x": [value, -value, 0.0]})
    for bucket in summary.features["x"].magnitudes:
        assert abs(bucket_value(bucket)) == pytest.approx(value, rel=0.05) or bucket == 0


def test_a_reference_of_missing_values_takes_all_later_ones_as_outside():
    reference = fit_reference({"x": [None, None]}, {"x": "numeric"})
    assert summarise(reference, {"x": [1.0, 2.0]}).features["x"].above == 2


def test_known_distances():
    left, right = np.array([10.0, 0.0]), np.array([0.0, 7.0])
    assert js_distance(left, right) == 1.0
    assert ks_distance(left, right) == 1.0
    assert variation_distance(left, right) == 1.0
    assert ks_distance(np.array([1.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0])) == pytest.approx(0.25)
    half = np.array([1.0, 1.0])
    # Lin (1991): divergence of (1, 0) and (1/2, 1/2) is 0.311278 bit.
    assert js_distance(np.array([1.0, 0.0]), half) ** 2 == pytest.approx(0.311278, abs=1e-6)


@given(counts, counts)
def test_distances_are_symmetric_bounded_and_zero_for_the_same(one: np.ndarray, other: np.ndarray):
    if not one.sum() or not other.sum():
        with pytest.raises(NotEnoughEvidence):
            js_distance(one, other)
        return
    for distance in (js_distance, ks_distance, variation_distance):
        assert distance(one, other) == pytest.approx(distance(other, one))
        assert 0.0 <= distance(one, other) <= 1.0
        assert distance(one, one) == pytest.approx(0.0, abs=1e-7)
    assert stability_index(one, other) >= 0.0


def test_a_window_of_the_same_rows_lies_near_and_a_moved_one_far():
    near = compare(REFERENCE, summarise(REFERENCE, {"x": RNG.normal(size=2000), "kind": ["a", "b"] * 1000}))
    far = compare(REFERENCE, summarise(REFERENCE, {"x": RNG.normal(size=2000) + 2, "kind": ["z"] * 2000}))
    assert near["x"].ks < 0.05 < 0.6 < far["x"].ks
    assert far["kind"].unseen_share == 1.0
    assert far["x"].mean == pytest.approx(2.0, abs=0.1)
    assert drift_scores(far)["x|ks"] == far["x"].ks


def test_a_column_without_any_row_is_not_compared():
    assert compare(REFERENCE, summarise(REFERENCE, {})) == {}
