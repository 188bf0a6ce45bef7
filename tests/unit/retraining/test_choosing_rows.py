from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from flyball.core.contract import Contract
from flyball.core.digests import digest_bytes
from flyball.judge.choosing import TRAINING_WINDOWS, progressive_folds
from flyball.retraining.plan import RetrainPlan, choose_window, plain, read_plan

FOLDS = progressive_folds(
    datetime(2012, 3, 29, tzinfo=UTC).timestamp(),
    window_seconds=7 * 86_400,
    outcome_delay_seconds=86_400,
    count=4,
)


def make_plan(project, **changes) -> RetrainPlan:
    given = {
        "retraining_id": "rtn_" + "0" * 32,
        "champion": 1,
        "bundle": digest_bytes(b"bundle"),
        "tree": digest_bytes(b"tree"),
        "root_snapshot": digest_bytes(b"rows"),
        "folder": None,
        "project": project,
        "contract": Contract(),
        "classes": None,
        "positive": None,
        "features": ["temp"],
        "decided_at": datetime(2012, 3, 30, tzinfo=UTC),
        "rows_until": datetime(2012, 3, 29, tzinfo=UTC),
        "names": ["expanding", "60d"],
        "folds": FOLDS,
        "held": [(datetime(2012, 3, 1, tzinfo=UTC), datetime(2012, 3, 8, tzinfo=UTC))],
        "is_forced": False,
        "because": "a signal",
        "signal_id": None,
        "incident_id": None,
    }
    return RetrainPlan(**{**given, **changes})


def tried(champion: list[float | None], **losses: list[float | None]) -> dict:
    return {"champion": champion, "losses": losses, "row_counts": [168] * len(champion)}


def guarded(loop_project, margin: float = 4.0):
    return loop_project(rollout={"guards": [{"metric": "mae", "max_increase": margin}]})


def test_a_plan_survives_as_json(loop_project):
    plan = make_plan(guarded(loop_project))
    assert read_plan(plain(plan)) == plan


def test_the_window_that_did_best_on_recent_outcomes_is_taken(loop_project):
    answers = tried([80.0] * 4, expanding=[60.0] * 4, **{"60d": [40.0] * 4})
    choice = choose_window(make_plan(guarded(loop_project)), answers, "mae")
    assert (choice.act, choice.name, choice.gain) == (True, "60d", 40.0)


def test_a_gain_that_a_rollout_could_not_tell_from_noise_trains_nothing(loop_project):
    answers = tried([10.0] * 4, expanding=[7.0] * 4, **{"60d": [9.0] * 4})
    choice = choose_window(make_plan(guarded(loop_project)), answers, "mae")
    assert not choice.act
    assert "less than" in choice.because
    assert choose_window(make_plan(guarded(loop_project, margin=1.0)), answers, "mae").act


def test_what_a_person_asks_for_is_trained_and_the_doubt_is_kept(loop_project):
    answers = tried([10.0] * 4, expanding=[12.0] * 4, **{"60d": [11.0] * 4})
    choice = choose_window(make_plan(guarded(loop_project), is_forced=True), answers, "mae")
    assert (choice.act, choice.name) == (True, "60d")
    assert "as it was asked for" in choice.because


def test_all_are_compared_on_the_folds_that_the_champion_answered(loop_project):
    # In the first two, easy folds somebody else was champion.
    answers = tried(
        [None, None, 80.0, 80.0], expanding=[10.0, 10.0, 79.0, 79.0], **{"60d": [10.0, 10.0, 50.0, 50.0]}
    )
    choice = choose_window(make_plan(guarded(loop_project)), answers, "mae")
    assert choice.losses == {"expanding": 79.0, "60d": 50.0}
    assert choice.gain == 30.0


def test_a_champion_without_known_answers_is_not_replaced_by_itself(loop_project):
    answers = tried([None] * 4, expanding=[10.0] * 4, **{"60d": [5.0] * 4})
    assert not choose_window(make_plan(guarded(loop_project)), answers, "mae").act


def test_steps_that_make_the_rows_leave_nothing_to_try(loop_project):
    plan = make_plan(loop_project(), names=["expanding"], folds=[])
    choice = choose_window(plan, {}, "mae")
    assert (choice.act, choice.name) == (True, "expanding")


@pytest.mark.parametrize(
    ("data", "names"),
    [("expanding", ["expanding"]), ("sliding 90d", ["90d"]), ("since-change", list(TRAINING_WINDOWS))],
)
def test_the_project_file_says_which_windows_are_tried(loop_project, data, names):
    from flyball.retraining.plan import window_names

    assert window_names(loop_project(retrain={"data": data}).retrain.data) == names


def test_a_plan_holds_only_plain_values(loop_project):
    assert msgspec.json.decode(msgspec.json.encode(plain(make_plan(loop_project())))) == plain(
        make_plan(loop_project())
    )
