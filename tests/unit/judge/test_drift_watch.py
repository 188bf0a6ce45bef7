"""The alarm budget, the performance reference and its confirmation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput, NotEnoughEvidence
from flyball.judge.drift.performance import block_folds, confirm, performance_reference
from flyball.judge.drift.watch import needed_windows, watch_columns, watch_value, window_alpha

DAY = 86_400.0


def test_the_budget_is_split_over_what_is_watched():
    alphas = window_alpha(1, 30 * DAY, DAY)
    assert alphas.outcomes + alphas.drift + alphas.predictions == pytest.approx(1 / 30)
    assert alphas.outcomes == pytest.approx(1 / 60)


def test_long_windows_do_not_turn_the_budget_into_noise():
    alphas = window_alpha(10, 30 * DAY, 7 * DAY)
    assert alphas.outcomes + alphas.drift + alphas.predictions == pytest.approx(0.2)


def test_too_little_history_is_said_and_not_guessed():
    watched = watch_value([1.0] * 5, 100.0, 0.05)
    assert (watched.alarm, watched.enough, watched.p) == (False, False, None)
    assert "5 past windows" in watched.because
    assert "19 are needed" in watched.because
    assert not watch_columns([], {"x": 9.0}, 0.05).enough


def test_as_many_windows_as_needed_can_alarm_and_one_fewer_can_not():
    needed = needed_windows(0.1)
    assert watch_value([1.0] * needed, 2.0, 0.1).alarm
    assert not watch_value([1.0] * (needed - 1), 2.0, 0.1).alarm


def test_an_ordinary_value_is_no_alarm():
    assert not watch_value(list(range(100)), 50.0, 0.05).alarm


def test_a_column_that_moves_is_named_first():
    rng = np.random.default_rng(1)
    history = [{f"c{i}|ks": float(rng.normal(0.1, 0.01)) for i in range(20)} for _ in range(40)]
    current = {f"c{i}|ks": 0.1 for i in range(20)} | {"c7|ks": 0.3}
    watched = watch_columns(history, current, 0.05)
    assert watched.alarm
    assert watched.top[0][0] == "c7|ks"
    assert "c7 ks" in watched.because


def test_columns_that_are_unknown_in_some_window_are_not_watched():
    history = [{"a|ks": 0.1 + i / 1000, "b|ks": 0.1} for i in range(30)]
    watched = watch_columns([*history, {"a|ks": 0.1}], {"a|ks": 0.1, "b|ks": 0.9}, 0.05)
    assert not watched.alarm


@given(st.lists(st.floats(0, 1), min_size=20, max_size=30), st.floats(0, 1))
def test_p_is_a_rank_that_falls_with_the_value(history: list[float], current: float):
    watched = watch_value(history, current, 0.05)
    higher = watch_value(history, current + 0.5, 0.05)
    assert watched.p is not None
    assert higher.p is not None
    assert 1 / (len(history) + 1) <= higher.p <= watched.p <= 1


def test_an_alpha_of_nothing_is_refused():
    with pytest.raises(BadInput):
        needed_windows(0.0)


def test_the_reference_takes_the_larger_of_two_promises():
    losses, blocks = [10.0] * 20 + [20.0] * 20, [0] * 20 + [1] * 20
    plain = performance_reference(losses, blocks)
    assert plain.loss == plain.cross_validated == 15.0
    assert plain.block_losses == [10.0, 20.0]
    assert plain.interval.low <= 15.0 <= plain.interval.high
    assert performance_reference(losses, blocks, progressive=18.0).loss == 18.0
    assert performance_reference(losses, blocks, progressive=9.0).loss == 15.0


def test_blocks_cut_short_are_no_window_of_the_past():
    reference = performance_reference([1.0] * 3 + [2.0] * 20 + [3.0] * 20, [0] * 3 + [1] * 20 + [2] * 20)
    assert reference.block_losses == [2.0, 3.0]


def test_a_reference_of_nothing_is_an_error():
    with pytest.raises(NotEnoughEvidence):
        performance_reference([], [])


def test_whole_blocks_go_to_one_fold():
    blocks = np.repeat(np.arange(12), 7)
    folds = block_folds(blocks)
    assert set(folds) == set(range(5))
    for block in range(12):
        assert len(set(folds[blocks == block])) == 1
    assert set(block_folds([3, 3, 4])) == {0, 1}


@pytest.mark.parametrize(
    ("losses", "confirmed"),
    [
        ([13.0, 13.0], True),
        ([13.0, 9.0, 13.0], True),
        ([13.0, 13.0, 9.0], False),
        ([13.0], False),
        ([], False),
        ([13.0, 13.0, 9.0, 9.0, 13.0], False),
        ([12.4, 12.4, 12.4], False),
    ],
)
def test_two_of_three_windows_confirm_if_the_newest_is_bad(losses: list[float], confirmed: bool):
    assert confirm(losses, 10.0).confirmed is confirmed


def test_a_reference_loss_of_zero_can_not_be_compared_with():
    with pytest.raises(BadInput):
        confirm([1.0], 0.0)
