from __future__ import annotations

from datetime import timedelta

import pytest

from flyball.core.errors import BadInput, Conflict, Refused, RolloutNotFound, RolloutRunning, VersionRefused
from flyball.core.values import Actor
from flyball.delivery import control, look
from flyball.delivery.approvals import subject_of
from flyball.delivery.due import next_due
from flyball.delivery.rollback import next_target, rollback
from flyball.delivery.rollouts import Rollout, change, find_running, find_unfinished, list_rollouts
from flyball.delivery.settings import change_settings, settings_of
from flyball.delivery.start import launch
from flyball.delivery.transitions import Moment
from flyball.governance.approvals import reject
from flyball.governance.events import list_events
from flyball.governance.verify import verify
from flyball.judge.rollout import Decision, rules_of
from flyball.registry.aliases import list_aliases
from flyball.registry.evidence import list_evidence
from flyball.registry.routes import current
from flyball.registry.versions import get_version

MODEL = "bikes"
PERSON = Actor("grace")


def aliases_of(home) -> dict[str, int]:
    with home.database.read() as conn:
        return {alias.name: alias.number for alias in list_aliases(conn, MODEL)}


def wanted(home):
    with home.database.read() as conn:
        return current(conn, MODEL)


def decide(home, verb, **options):
    given = {
        "actor": PERSON,
        "why": "seen enough",
        "now": home.tick(seconds=1),
        "model_time": None,
        **options,
    }
    with home.database.write() as conn:
        return verb(conn, MODEL, **given)


def test_the_first_version_goes_into_service_at_once_and_is_said_so(loop_home):
    started = loop_home.deploy(loop_home.register())
    assert started.first
    assert started.rollout_id is None
    assert "first deployment" in started.because
    assert aliases_of(loop_home) == {"champion": 1}
    with loop_home.database.read() as conn:
        assert [found.facts["verdict"] for found in list_evidence(conn, MODEL, 1)] == ["first"]
        assert list_events(conn, kinds=["deployment.first"])[0].facts["version"] == 1


def test_a_second_version_becomes_a_shadow_beside_the_champion(loop_home):
    loop_home.deploy(loop_home.register())
    started = loop_home.deploy(loop_home.register())
    assert (started.state, started.first, started.waiting_for) == ("running", False, 0)
    deployment = wanted(loop_home)
    assert (deployment.champion, deployment.candidate, deployment.candidate_role) == (1, 2, "shadow")
    assert deployment.share == 0.0
    assert aliases_of(loop_home) == {"champion": 1, "candidate": 2}


def test_a_canary_begins_with_its_first_share_and_a_salt_of_its_own(quick_loop_home, loop_project):
    home = quick_loop_home
    canary = loop_project(rollout={"strategy": "canary", "steps": [0.05, 0.25, 1.0]})
    home.deploy(home.register())
    home.deploy(home.register(canary))
    first = wanted(home)
    assert (first.candidate_role, first.share) == ("canary", 0.05)
    decide(home, control.abort)
    home.deploy(home.register(canary))
    assert wanted(home).salt != first.salt


def test_a_version_that_failed_its_gates_is_not_deployed_and_waits_for_nobody(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    refused = home.register(loop_project(rollout={"approvals": 1}), state="refused")
    with pytest.raises(VersionRefused, match="failed its gates"):
        home.deploy(refused)
    assert aliases_of(home) == {"champion": 1}
    with home.database.read() as conn:
        assert list_rollouts(conn, MODEL) == []


def test_one_candidate_at_a_time_and_never_the_champion_again(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    with pytest.raises(Conflict, match="champion already"):
        home.deploy(1)
    with pytest.raises(RolloutRunning, match="flyball rollout abort"):
        home.deploy(home.register())


def test_immediate_asks_for_no_comparison_and_says_so(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    started = home.deploy(home.register(loop_project(rollout={"strategy": "immediate"})))
    assert started.state == "promoted"
    assert aliases_of(home) == {"champion": 2, "previous": 1}
    assert "no comparison" in started.because


def test_a_person_promotes_with_a_reason_that_is_kept(loop_home, loop_project):
    loop_home.deploy(loop_home.register())
    loop_home.deploy(loop_home.register(loop_project(retrain={"cooldown": "3d"})))
    done = decide(loop_home, control.promote, why="the board decided")
    assert done.state == "promoted"
    assert "the board decided" in done.because
    assert aliases_of(loop_home) == {"champion": 2, "previous": 1}
    deployment = wanted(loop_home)
    assert (deployment.champion, deployment.candidate, deployment.previous) == (2, None, 1)
    assert deployment.project["retrain"]["cooldown"] == "3d"
    with loop_home.database.read() as conn:
        assert list_evidence(conn, MODEL, 2, kind="rollout")[0].facts["verdict"] == "promoted"
        assert find_unfinished(conn, MODEL) is None
        assert verify(conn).ok


def test_pausing_keeps_the_step_and_resuming_starts_its_bake_again(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    paused = decide(home, control.pause)
    assert paused.state == "paused"
    with pytest.raises(Conflict, match="only when it is running"):
        decide(home, control.pause)
    home.tick(minutes=5)
    going = decide(home, control.resume)
    assert going.state == "running"
    assert going.step_started_at == home.now
    with home.database.read() as conn:
        assert find_running(conn, MODEL).id == paused.id


def test_aborting_takes_the_candidate_out_and_becomes_evidence(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    done = decide(home, control.abort, why="smells")
    assert done.state == "aborted"
    assert wanted(home).candidate is None
    assert aliases_of(home) == {"champion": 1}
    with home.database.read() as conn:
        facts = list_evidence(conn, MODEL, 2, kind="rollout")[0].facts
    assert facts["verdict"] == "aborted"
    assert "smells" in facts["because"]


def test_decisions_need_a_reason_and_a_rollout(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    with pytest.raises(RolloutNotFound, match="flyball deploy"):
        decide(home, control.abort)
    home.deploy(home.register())
    with pytest.raises(BadInput, match="why"):
        decide(home, control.abort, why="  ")


def test_rolling_back_is_one_move_of_the_routes_and_can_be_undone_again(loop_home):
    loop_home.deploy(loop_home.register())
    loop_home.deploy(loop_home.register())
    decide(loop_home, control.promote)
    before = wanted(loop_home).revision
    done = decide(loop_home, rollback, to=None, why="complaints")
    assert (done.from_number, done.to_number) == (2, 1)
    assert wanted(loop_home).revision == before + 1 == done.revision
    assert aliases_of(loop_home) == {"champion": 1, "previous": 2}
    again = decide(loop_home, rollback, to=2)
    assert (again.from_number, again.to_number) == (1, 2)
    with loop_home.database.read() as conn:
        assert list_evidence(conn, MODEL, 2, kind="rollback")[0].facts["because"].endswith("complaints")
        assert verify(conn).ok


def target_of(home) -> int | None:
    with home.database.read() as conn:
        return next_target(conn, MODEL)


def test_a_second_rollback_never_goes_forward_to_the_version_just_rejected(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    for _ in range(2):
        home.deploy(home.register())
        decide(home, control.promote)
    done = decide(home, rollback, to=None)
    assert (done.from_number, done.to_number, target_of(home)) == (3, 2, 1)
    done = decide(home, rollback, to=None)
    assert (done.from_number, done.to_number, target_of(home)) == (2, 1, None)
    before = wanted(home).revision
    with pytest.raises(Conflict, match=r"version 2 was rejected by a rollback\. .* --to 2 --why"):
        decide(home, rollback, to=None)
    assert (wanted(home).revision, wanted(home).champion) == (before, 1)


def test_a_version_that_is_deployed_again_after_a_rollback_can_be_gone_back_to(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    decide(home, control.promote)
    decide(home, rollback, to=None)
    home.deploy(home.register())
    decide(home, control.promote)
    assert decide(home, rollback, to=None).to_number == 1  # not 2, which was rejected before 3 came
    home.deploy(2)
    decide(home, control.promote)
    home.deploy(home.register())
    decide(home, control.promote)
    done = decide(home, rollback, to=None)
    assert (done.from_number, done.to_number, target_of(home)) == (4, 2, 1)


def test_a_rollback_over_several_versions_rejects_all_of_them(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    for _ in range(3):
        home.deploy(home.register())
        decide(home, control.promote)
    decide(home, rollback, to=2)
    assert target_of(home) == 1
    assert decide(home, rollback, to=None).to_number == 1


def test_no_rollback_brings_a_version_into_service_for_the_first_time(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    number = home.register(loop_project(rollout={"approvals": 2}))
    with pytest.raises(Conflict, match=r"bikes@2 was never in service.*`flyball deploy bikes@2`"):
        decide(home, rollback, to=number)
    home.deploy(number)  # it waits now, for two people
    with pytest.raises(Conflict, match="never in service"):
        decide(home, rollback, to=number)
    assert aliases_of(home) == {"champion": 1}


def test_no_rollback_goes_to_a_version_that_people_rejected(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    for _ in range(2):
        home.deploy(home.register())
        decide(home, control.promote)
    say_no(home, 2)
    assert target_of(home) == 1
    with pytest.raises(Refused, match=r"bikes@2 was rejected by lin: unfair; .*`flyball approve bikes@2"):
        decide(home, rollback, to=2)
    assert decide(home, rollback, to=None).to_number == 1
    home.deploy(home.register())
    decide(home, control.promote)
    say_no(home, 1)
    with pytest.raises(Conflict, match=r"nothing before it.*version 1 was rejected by lin: unfair"):
        decide(home, rollback, to=None)


def say_no(home, number: int) -> None:
    with home.database.write() as conn:
        digest = get_version(conn, MODEL, number).digest
        given = {"subject": subject_of(MODEL, number), "digest": digest, "actor": Actor("lin")}
        reject(conn, **given, why="unfair", now=home.now, model=MODEL)


def test_a_rollback_brings_back_the_settings_that_were_in_force_with_the_version(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    other = settings_of(wanted(home).project)
    other["retrain"]["cooldown"] = "9d"
    with home.database.write() as conn:
        change_settings(conn, MODEL, other, actor=PERSON, why="calmer", now=home.now, model_time=None)
    home.deploy(home.register())
    decide(home, control.promote)
    assert wanted(home).project["retrain"]["cooldown"] == "28d"
    decide(home, rollback, to=None)
    assert wanted(home).project["retrain"]["cooldown"] == "9d"


def judged(home, rollout: Rollout, action: str):
    """What a look at a rollout, as it was read, does when it is decided."""
    decision = Decision(action=action, because="enough was seen")
    verdict = look._Verdict(decision=decision, at=home.now, looked_until=None)
    return look._apply(home.database, rollout, verdict, {}, home.now)


def test_a_look_moves_nothing_that_people_moved_meanwhile(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    with home.database.read() as conn:
        seen = find_running(conn, MODEL)
    decide(home, control.pause)
    assert judged(home, seen, "promote") is None
    decide(home, control.resume)  # its bake began again, which the look does not know
    assert judged(home, seen, "promote") is None
    assert aliases_of(home) == {"champion": 1, "candidate": 2}
    with home.database.read() as conn:
        seen = find_running(conn, MODEL)
    assert judged(home, seen, "promote").state == "promoted"


@pytest.mark.parametrize("action", ["promote", "wait"])
def test_what_a_person_rejects_is_not_promoted_by_its_numbers_or_by_hand(quick_loop_home, action: str):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    say_no(home, 2)
    with pytest.raises(Refused, match="was rejected by lin: unfair"):
        decide(home, control.promote)
    with home.database.read() as conn:
        done = judged(home, find_running(conn, MODEL), action)
    assert (done.state, aliases_of(home)) == ("aborted", {"champion": 1})
    with home.database.read() as conn:
        (ended,) = list_rollouts(conn, MODEL)
        assert ended.because == "rejected by lin: unfair"
        assert list_evidence(conn, MODEL, 2, kind="rollout")[0].facts["verdict"] == "aborted"


def test_a_rollout_that_waits_does_not_begin_once_its_candidate_was_rejected(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register(loop_project(rollout={"approvals": 1})))
    say_no(home, 2)
    moment = Moment(now=home.now, model_time=home.now)
    with home.database.write() as conn, pytest.raises(Refused, match="bikes@2 was rejected by lin: unfair"):
        launch(conn, find_unfinished(conn, MODEL), actor=PERSON, moment=moment)
    assert wanted(home).candidate is None


def test_a_canary_is_looked_at_again_for_new_rows_at_the_end_of_its_bake_and_at_its_last_day(
    quick_loop_home, loop_project
):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(
        home.register(loop_project(rollout={"strategy": "canary", "bake": "10m", "max_duration": "2d"}))
    )
    seen = {"step": 0, "batch": 3, "bake_elapsed_seconds": 60.0}
    with home.database.write() as conn:
        rollout = change(conn, find_running(conn, MODEL).id, evidence=seen)
    rules = rules_of(rollout.settings, loss="mae", champion_loss=None)

    def is_news(batch: int = 3, baked: float = 2, elapsed: float = 2) -> bool:
        spent = timedelta(minutes=baked), timedelta(minutes=elapsed)
        return look._is_news(rollout, rules, batch, *spent)

    assert not is_news()
    assert is_news(batch=4) and is_news(baked=10) and is_news(elapsed=2 * 24 * 60)


def test_rolling_back_ends_a_rollout_under_way(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    decide(home, control.promote)
    home.deploy(home.register())
    decide(home, rollback, to=None)
    deployment = wanted(home)
    assert (deployment.champion, deployment.candidate) == (1, None)
    with home.database.read() as conn:
        assert [found.state for found in list_rollouts(conn, MODEL)] == ["rolled_back", "promoted"]


def test_there_is_nothing_before_the_first_champion(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    with pytest.raises(Conflict, match="nothing to go back to"):
        decide(home, rollback, to=None)
    with pytest.raises(Conflict, match="champion already"):
        decide(home, rollback, to=1)


def test_a_shadow_day_is_due_when_its_outcomes_are(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    with home.database.read() as conn:
        assert next_due(conn, MODEL) is None
    home.deploy(home.register())
    with home.database.read() as conn:
        rollout = find_running(conn, MODEL)
        assert next_due(conn, MODEL) == rollout.started_model_at + timedelta(days=1 + 1)
