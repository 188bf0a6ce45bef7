"""One sentence for what happened: the cause, where, since when, how sure."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from flyball.core.errors import NotEnoughEvidence
from flyball.judge.causes.diagnose import Diagnosis, Findings, LabelChange, ServingChange, diagnose
from flyball.judge.causes.residuals import expected_loss, fit_expected_loss, summarise_residuals
from flyball.judge.drift.facts import BrokenColumn
from flyball.judge.drift.performance import confirm
from flyball.judge.drift.statistics import ColumnDrift
from flyball.judge.drift.watch import Watched

DAY = 86_400.0
START = 1_325_721_600.0  # 2012-01-05
ALARM = Watched(alarm=True, enough=True, because="0 of 26 past windows (p = 0.037)", p=0.037, window_count=26)
CALM = Watched(alarm=False, enough=True, because="9 of 26 past windows (p = 0.370)", p=0.37, window_count=26)
MOVED = ColumnDrift(
    ks=0.7,
    js=0.6,
    psi=2.0,
    missing_share=0.0,
    reference_missing_share=0.0,
    outside_share=0.1,
    unseen_share=0.0,
    mean=0.81,
    reference_mean=0.42,
)
RNG = np.random.default_rng(1)
HOURS = np.arange(168.0) % 24
AT = START + np.arange(168) * 3600.0


def told(**known: object) -> Diagnosis:
    findings = {"window_from_seconds": START, "window_until_seconds": START + 7 * DAY, "row_count": 168}
    return diagnose(Findings(**(findings | known)))


def residuals(bias: np.ndarray) -> object:
    prediction = 100 + RNG.normal(size=168)
    return summarise_residuals(prediction + bias, prediction, AT, {"hr": HOURS, "temp": RNG.normal(size=168)})


def test_concept_drift_says_how_much_which_way_and_where():
    bias = np.where(np.isin(HOURS, [8, 17]), 200.0, 20.0) + RNG.normal(size=168) * 5
    found = told(
        loss_metric="mae",
        loss=35.0,
        reference_loss=20.0,
        expected_loss=20.5,
        loss_watch=ALARM,
        drift_watch=CALM,
        confirmation=confirm([30.0, 35.0], 20.0),
        residuals=residuals(bias),
    )
    assert found.cause == "concept-drift"
    assert "answers are too low by 34.6" in found.sentence
    assert "hr = 8" in found.sentence
    assert "= 17" in found.sentence
    assert "since 2012-01-05" in found.sentence
    assert "2 of the last 2 windows" in found.sure
    assert found.features == ["hr"]
    assert found.may_retrain


def test_answers_too_high_are_called_so():
    found = told(loss=35.0, reference_loss=20.0, loss_watch=ALARM, residuals=residuals(np.full(168, -30.0)))
    assert "too high by 30" in found.sentence


def test_broken_data_comes_before_everything_computed_from_it():
    broken = BrokenColumn(feature="temp", kind="unit", share=1.0, sentence="100% of `temp` lies far outside")
    found = told(
        broken=[broken],
        loss=99.0,
        reference_loss=20.0,
        loss_watch=ALARM,
        residuals=residuals(np.full(168, 50.0)),
    )
    assert (found.cause, found.may_retrain, found.features) == ("broken-data", False, ["temp"])
    assert "held" in found.sentence


def test_harder_inputs_that_explain_the_error_are_covariate_shift():
    found = told(
        loss=30.0,
        reference_loss=20.0,
        expected_loss=28.0,
        loss_watch=ALARM,
        drift={"temp": MOVED},
        residuals=residuals(np.full(168, 20.0)),
    )
    assert found.cause == "covariate-shift"
    assert found.features == ["temp"]
    assert "80% of the extra error" in found.sure


def test_moved_inputs_without_outcomes_are_covariate_shift_of_unknown_effect():
    watched = msgspec.structs.replace(ALARM, top=[("temp|ks", 5.0), ("hum|js", 0.3)])
    found = told(drift={"temp": MOVED, "hum": MOVED}, drift_watch=watched)
    assert found.cause == "covariate-shift"
    assert found.features == ["temp"]
    assert "`temp` (mean 0.81, was 0.42)" in found.sentence
    assert "can't tell yet" in found.sentence


def test_a_change_of_the_serving_path_is_told_and_not_trained_on():
    found = told(serving=ServingChange(failed_share=0.2), loss_watch=ALARM)
    assert (found.cause, found.may_retrain) == ("serving-path", False)
    assert told(serving=ServingChange(failed_share=0.01)).cause == "undetermined"


def test_more_of_one_class_with_answers_alike_within_classes_is_label_shift():
    labels = LabelChange(share=0.46, reference_share=0.20, class_distance=0.05)
    assert told(labels=labels, loss_watch=ALARM).cause == "label-shift"
    moved = msgspec.structs.replace(labels, class_distance=0.5)
    assert told(labels=moved, loss_watch=ALARM).cause == "undetermined"


def test_no_direction_and_no_explanation_is_undetermined():
    found = told(
        loss=35.0, reference_loss=20.0, loss_watch=ALARM, residuals=residuals(RNG.normal(size=168) * 40)
    )
    assert found.cause == "undetermined"


def test_a_calm_window_has_no_cause():
    assert told(drift_watch=CALM, loss_watch=CALM).cause == "undetermined"


def test_answers_that_move_alone_are_said_to_be_undetermined():
    found = told(prediction_watch=ALARM, drift_watch=CALM)
    assert found.cause == "undetermined"
    assert "answers are distributed differently" in found.sentence


def test_a_diagnosis_survives_its_own_json():
    found = told(loss=35.0, reference_loss=20.0, loss_watch=ALARM, residuals=residuals(np.full(168, 30.0)))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found


def test_residuals_know_their_bias_and_its_interval():
    found = residuals(np.full(168, 12.0))
    assert found.bias == pytest.approx(12.0)
    assert found.bias_interval.low <= 12.0 <= found.bias_interval.high
    assert found.loss == pytest.approx(12.0)


def test_segments_of_text_are_found_too():
    prediction = np.zeros(90)
    kinds = ["a"] * 30 + ["b"] * 30 + [None] * 30
    found = summarise_residuals(
        np.repeat([0.0, 50.0, 0.0], 30) + RNG.normal(size=90), prediction, AT[:90], {"kind": kinds}
    )
    assert found.segments[0].feature == "kind"
    assert found.segments[0].where == "= b"


def test_no_outcomes_no_summary():
    with pytest.raises(NotEnoughEvidence):
        summarise_residuals(np.array([]), np.array([]), np.array([]), {})


def test_larger_answers_let_one_expect_larger_errors():
    answers = RNG.uniform(0, 100, size=2000)
    outcomes = answers + RNG.normal(size=2000) * answers / 5
    reference = fit_expected_loss(outcomes, answers)
    assert expected_loss(reference, np.full(50, 95.0)) > 4 * expected_loss(reference, np.full(50, 5.0))
    assert expected_loss(reference, answers) == pytest.approx(np.abs(outcomes - answers).mean(), rel=0.01)
