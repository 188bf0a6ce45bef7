"""Progressive validation: its folds and its choice."""

from __future__ import annotations

import math

import pytest

from flyball.core.errors import BadInput
from flyball.judge.choosing import FoldLosses, choose, progressive_folds, training_start

DAY = 86_400.0
WEEK = 7 * DAY


def losses(name: str, *values: float | None) -> FoldLosses:
    return FoldLosses(name=name, losses=list(values), row_counts=[100] * len(values))


def test_folds_train_only_on_outcomes_known_when_the_test_began():
    folds = progressive_folds(100 * WEEK, window_seconds=WEEK, outcome_delay_seconds=DAY, count=3)
    assert [fold.test_until / WEEK for fold in folds] == [98, 99, 100]
    for fold in folds:
        assert fold.test_from == fold.test_until - WEEK
        assert fold.train_until == fold.test_from - DAY


def test_the_best_window_is_chosen_when_it_gains_enough():
    choice = choose(
        [losses("expanding", 40, 40), losses("60d", 30, 30)], losses("champion", 50, 50), least_gain=4.0
    )
    assert (choice.act, choice.name, choice.gain) == (True, "60d", 20)
    assert "the last 60d" in choice.because
    assert choice.losses == {"expanding": 40, "60d": 30}


def test_a_small_gain_retrains_nothing():
    close = choose([losses("60d", 47)], losses("champion", 50), least_gain=4.0)
    assert not close.act
    assert "less than 10" in close.because
    none = choose([losses("60d", 50)], losses("champion", 50), least_gain=4.0)
    assert ": no gain, less than 10" in none.because
    assert not choose([losses("60d", 30)], losses("champion", 35), least_gain=8.0).act
    assert choose([losses("60d", 47)], losses("champion", 50), least_gain=2.0, least_share=0.0).act


def test_a_window_that_could_not_be_trained_everywhere_is_left_out():
    choice = choose(
        [losses("60d", None, 1), losses("90d", 20, 20)], losses("champion", 50, 50), least_gain=1.0
    )
    assert choice.name == "90d"
    nothing = choose([losses("60d", None)], losses("champion", 50), least_gain=1.0)
    assert (nothing.act, nothing.name) == (False, None)


def test_without_the_champions_losses_no_gain_is_claimed():
    choice = choose([losses("60d", 10)], losses("champion", None), least_gain=1.0)
    assert not choice.act
    assert "not known" in choice.because


def test_losses_are_weighted_by_rows():
    uneven = FoldLosses(name="60d", losses=[10.0, 40.0], row_counts=[300, 100])
    choice = choose([uneven], losses("champion", 50, 50), least_gain=1.0)
    assert choice.loss == pytest.approx(17.5)


def test_training_windows_start_where_their_name_says():
    assert training_start("expanding", 0.0) == -math.inf
    assert training_start("60d", 100 * DAY) == training_start("sliding 60d", 100 * DAY) == 40 * DAY


def test_no_folds_can_not_be_asked_for():
    with pytest.raises(BadInput):
        progressive_folds(0.0, window_seconds=WEEK, outcome_delay_seconds=0.0, count=0)
