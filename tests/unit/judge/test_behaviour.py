"""Judgements of a model's behaviour, from arrays."""

from __future__ import annotations

import numpy as np
import pytest

from flyball.core.values import Interval
from flyball.judge.behaviour.alone import none_tells_all
from flyball.judge.behaviour.baseline import beats
from flyball.judge.behaviour.calibration import calibrated
from flyball.judge.behaviour.changes import Grid, are_usable, moves, stays
from flyball.judge.behaviour.found import few_enough, share_interval
from flyball.judge.metrics.measure import Paired

RNG = np.random.default_rng(7)


def test_one_row_beyond_the_allowed_change_fails_and_is_shown_first():
    before = np.zeros(100)
    after = before.copy()
    after[[3, 40]] = [0.2, 0.5]
    found = stays(before, after, max_change=0.1)
    assert found.verdict.outcome == "fail" and found.worst == [40, 3]
    assert "2 of 100 answers change by more than 0.1, by up to 0.5" in found.verdict.because


def test_an_answer_that_is_not_finite_is_a_change_without_bound():
    after = np.zeros(50)
    after[7] = np.nan
    assert stays(np.zeros(50), after, max_change=1e9).worst == [7]


def test_a_change_of_any_class_counts():
    before = np.tile([0.2, 0.3, 0.5], (40, 1))
    after = before.copy()
    after[5] = [0.4, 0.1, 0.5]
    assert stays(before, after, max_change=0.1).worst == [5]


@pytest.mark.parametrize(
    ("count", "outcome"), [(0, "pass"), (5, "inconclusive"), (30, "fail")]
)  # fmt: skip
def test_a_share_is_decided_by_its_interval(count: int, outcome: str):
    bad = np.arange(200) < count
    found = few_enough(bad, bad.astype(float), max_share=0.05, what="rows")
    assert found.verdict.outcome == outcome
    assert len(found.worst) == (0 if outcome == "pass" else min(count, 10))


def test_few_rows_without_a_failure_show_nothing():
    assert stays(np.zeros(29), np.zeros(29), max_change=0.1).verdict.outcome == "inconclusive"
    assert stays(np.zeros(0), np.zeros(0), max_change=0.1).verdict.outcome == "inconclusive"
    assert stays(np.zeros(3), np.ones(3), max_change=0.1).verdict.outcome == "fail"


def test_where_nothing_is_asked_of_the_size_usable_answers_pass_in_plain_words():
    verdict = are_usable(np.zeros(80)).verdict
    assert (verdict.outcome, verdict.because) == ("pass", "0 of 80 answers can't be used")
    assert are_usable(np.zeros(29)).verdict.outcome == "inconclusive"


def test_the_interval_of_a_share_is_the_exact_one():
    # Clopper and Pearson: 10 of 100 at 95 %.
    assert np.round(share_interval(10, 100, 0.95), 4).tolist() == [0.0490, 0.1762]
    assert share_interval(5, 5, 0.95)[1] == 1.0


def test_answers_after_a_change_are_no_lower_or_a_multiple():
    before = np.linspace(1, 2, 60)
    assert moves(before, before + 0.1, effect="not lower").verdict.outcome == "pass"
    assert moves(before, before - 0.1, effect="not lower").verdict.outcome == "fail"
    assert moves(before, before - 0.1, effect="not lower", tolerance=0.2).verdict.outcome == "pass"
    assert moves(before, before + 0.1, effect="not higher").verdict.outcome == "fail"
    assert moves(before, before * 3, effect="times 3").verdict.outcome == "pass"
    assert moves(before, before + 5, effect="times 3").verdict.outcome == "fail"
    assert moves(before, before - 2.5, effect="plus -2.5").verdict.outcome == "pass"
    none = np.where(before > 1.9, np.nan, before)
    for effect in ("not lower", "not higher", "plus 0"):
        assert moves(before, none, effect=effect).verdict.outcome == "fail"


def test_a_fall_between_distant_values_is_found_and_told_from_where():
    answers = np.tile([0.1, 0.4, 0.4, 0.2, 0.3], (50, 1))
    answers[1:] = np.linspace(0, 1, 5)
    grid = Grid(answers)
    found = grid.monotone(effect="not lower")
    assert found.worst == [0] and grid.steepest(0, "not lower") == (1, 3)
    assert Grid(-answers).monotone(effect="not higher").worst == [0]
    assert Grid(-answers).steepest(0, "not higher") == (1, 3)
    assert grid.monotone(effect="not lower", tolerance=0.25).verdict.outcome == "pass"


def test_true_probabilities_are_hardly_ever_called_wrong_and_shifted_ones_are_found():
    failed = passed = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scores = rng.beta(2, 5, 2000)
        truth = rng.random(2000) < scores
        failed += calibrated(scores, truth, max_error=0.0).verdict.outcome == "fail"
        passed += calibrated(scores, truth, max_error=0.1).verdict.outcome == "pass"
    # At 95 % at most 15 are expected to be wrong, and with 3.8 as standard deviation 27 are never seen.
    assert failed <= 27 and passed >= 270
    scores = RNG.beta(2, 5, 2000)
    wrong = calibrated(np.minimum(scores + 0.2, 1.0), RNG.random(2000) < scores, max_error=0.05)
    assert wrong.verdict.outcome == "fail" and len(wrong.worst) == 10


def test_many_bins_are_held_to_their_confidence_together():
    scores = np.linspace(0.499, 0.501, 6000)  # ten bins of 600 rows
    truth = np.tile([True, False], 3000)
    truth[5400:] = np.arange(600) < 390  # 0.65, at 95 % alone more than 0.6 and at 99.5 % not
    assert calibrated(scores, truth, max_error=0.1).verdict.outcome == "inconclusive"
    truth[5400:] = np.arange(600) < 405
    assert calibrated(scores, truth, max_error=0.1).verdict.outcome == "fail"


def test_calibration_on_few_rows_is_not_decided():
    scores = RNG.beta(2, 5, 60)
    assert calibrated(scores, RNG.random(60) < scores, max_error=0.05).verdict.outcome == "inconclusive"
    assert calibrated(scores[:20], scores[:20] > 0.5, max_error=0.5).verdict.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "rows", "outcome"),
    [
        (-0.2, -0.1, 100, "pass"),
        (-0.2, 0.1, 100, "inconclusive"),
        (0.1, 0.2, 100, "fail"),
        (-0.2, -0.1, 20, "inconclusive"),
    ],
)
def test_a_model_beats_a_baseline_only_by_an_interval_beyond_zero(
    low: float, high: float, rows: int, outcome: str
):
    paired = Paired(
        metric="log_loss", champion=0.5, candidate=0.4, estimate=(low + high) / 2, difference=Interval(low, high),
        row_count=rows, group_count=rows, identical=False,
    )  # fmt: skip
    assert beats(paired, larger_is_better=False, name="prior").verdict.outcome == outcome
    if rows == 100 and low > 0:
        assert "worse by 0.1 to 0.2;" in beats(paired, larger_is_better=False, name="prior").verdict.because
    mirrored = {"pass": "fail", "fail": "pass"}.get(outcome, outcome)
    assert beats(paired, larger_is_better=True, name="prior").verdict.outcome == mirrored


def test_a_feature_that_takes_nearly_all_of_the_loss_away_is_named():
    baseline = RNG.exponential(0.5, 400)
    alone = {"age": baseline * 0.95, "outcome_code": baseline * 0.1}
    found = none_tells_all(baseline, alone, seed=7)
    assert found.verdict.outcome == "fail" and found.verdict.because.startswith(
        "outcome_code alone takes away 0.90"
    )
    assert (
        none_tells_all(baseline, {**alone, "outcome_code": baseline * 0.9}, seed=7).verdict.outcome == "pass"
    )
    noisy = {**alone, "outcome_code": baseline * RNG.choice([0.0, 1.0], 400)}
    assert none_tells_all(baseline, noisy, seed=7).verdict.outcome == "inconclusive"
    assert none_tells_all(baseline, {"only": baseline * 0}, seed=7).verdict.outcome == "inconclusive"


def test_the_interval_of_a_share_is_the_exact_one_of_the_beta_distribution():
    from scipy.stats import beta

    tail = (1.0 - 0.95) / 2.0
    for count, total in ((0, 40), (1, 40), (7, 1800), (40, 40), (39, 4999)):
        low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
        high = 1.0 if count == total else float(beta.ppf(1.0 - tail, count + 1, total - count))
        assert share_interval(count, total, 0.95) == (low, high)
