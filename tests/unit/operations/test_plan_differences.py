"""What is planned, as a pure function: every case by example, and that doing it leaves nothing to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.digests import digest_bytes
from flyball.operations.planning.differences import (
    Aim,
    Change,
    Standing,
    Underway,
    Word,
    compare,
    differing,
    quoted,
)

A, B, C = (digest_bytes(letter) for letter in (b"a", b"b", b"c"))
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD = {"rollout": {"strategy": "canary", "steps": [0.1, 1.0]}, "monitor": {"window": "1d"}}
NEW = {"rollout": {"strategy": "shadow", "steps": [0.1, 1.0]}, "monitor": {"window": "1d"}}
BACK = Word(at=AT, by="ada", command="rollback", why="complaints")


def under_way(digest: str, **facts: Any) -> Underway:
    known = {
        "id": "rol_1",
        "version": "shop@3",
        "state": "running",
        "strategy": "canary",
        "step": 0,
        "missing": 0,
    }
    word = Word(at=AT, by="grace", command="deploy", why="a try")
    return Underway(digest=digest, is_applied=facts.pop("is_applied", False), word=word, **(known | facts))


def planned(
    digest: str | None, *, take_back: bool = False, aim: dict[str, Any] | None = None, **now: Any
) -> Change:
    wanted = Aim(digest=digest, **{"settings": OLD, **(aim or {})})
    return compare(wanted, Standing(**{"settings": OLD, **now}), take_back=take_back)


def test_what_is_in_service_under_its_settings_needs_nothing():
    assert planned(A, champion=A).kind == "nothing"


def test_a_model_without_a_champion_gets_its_first_and_waits_for_its_approvals():
    assert "at once" in planned(A).because
    asked = planned(A, aim={"approvals": 2})
    assert (asked.kind, "2 approval" in asked.because) == ("first", True)


def test_another_version_is_rolled_out_by_its_strategy():
    change = planned(B, champion=A, aim={"strategy": "shadow", "approvals": 1, "settings": NEW})
    assert change.kind == "deploy"
    assert "by shadow" in change.because and "after 1 approval" in change.because
    assert [(one.key, one.old, one.new) for one in change.settings] == [
        ("rollout.strategy", "canary", "shadow")
    ]


def test_an_earlier_champion_comes_back_at_once_whatever_the_environment_asks_of_newcomers():
    change = planned(A, champion=B, earlier=(A,), aim={"barrier": "not champion of staging"})
    assert (change.kind, "at once" in change.because) == ("roll back", True)


def test_an_earlier_champion_that_guards_took_out_since_is_compared_again():
    word = Word(at=AT, by="flyball", command="rollout abort", why="error grew", is_person=False)
    assert planned(A, champion=B, earlier=(A,), denial=word).kind == "held"
    assert planned(A, champion=B, earlier=(A,), denial=word, take_back=True).kind == "deploy"


def test_other_settings_alone_change_the_settings_alone():
    change = planned(A, champion=A, aim={"settings": NEW})
    assert (change.kind, [one.key for one in change.settings]) == ("settings", ["rollout.strategy"])


@pytest.mark.parametrize(
    ("state", "waits_for", "words", "command"),
    [
        ("running", "evidence", "step 1", ""),
        ("paused", "people", "paused", "`flyball rollout resume shop --why …`"),
        ("waiting", "people", "2 approval", "`flyball approve shop@3 --why …`"),
    ],
)
def test_a_rollout_to_the_wanted_version_is_waited_for(state: str, waits_for: str, words: str, command: str):
    rollout = under_way(B, state=state, missing=2)
    change = planned(B, champion=A, rollout=rollout, aim={"barrier": "not champion of staging any more"})
    assert (change.kind, change.waits_for, words in change.because) == ("wait", waits_for, True)
    assert command in change.advice


def test_a_rollout_begins_once_it_has_its_approvals():
    assert planned(B, champion=A, rollout=under_way(B, state="waiting", missing=0)).kind == "begin"


def test_what_waits_for_approvals_and_was_rejected_is_blocked_by_it():
    waiting = under_way(B, state="waiting", missing=1)
    change = planned(B, champion=A, rollout=waiting, aim={"obstacle": "it was rejected by grace"})
    assert (change.kind, change.because) == ("blocked", "it was rejected by grace")


def test_another_rollout_blocks_unless_an_apply_started_it_or_it_is_taken_back():
    blocked = planned(C, champion=A, rollout=under_way(B))
    assert blocked.kind == "blocked"
    assert "grace" in blocked.because and "--take-back" in blocked.advice
    for change in (
        planned(C, champion=A, rollout=under_way(B, is_applied=True)),
        planned(C, champion=A, rollout=under_way(B), take_back=True),
    ):
        assert (change.kind, change.ends) == ("deploy", "rol_1")


def test_going_back_to_the_champion_in_the_file_ends_the_rollout_that_the_file_began():
    assert planned(A, champion=A, rollout=under_way(B, is_applied=True)).kind == "end"
    by_hand = planned(A, champion=A, rollout=under_way(B))
    assert (by_hand.kind, "by grace: `deploy" in by_hand.notes[0]) == ("nothing", True)
    other = planned(A, champion=A, rollout=under_way(B), aim={"settings": NEW})
    assert (other.kind, len(other.notes)) == ("settings", 1)
    assert planned(A, champion=A, rollout=under_way(B), take_back=True).kind == "end"


def test_a_rollback_by_hand_is_told_with_its_author_and_held_until_it_is_taken_back():
    facts = {"champion": A, "earlier": (), "denial": BACK, "applied": B}
    held = planned(B, **facts)
    assert held.kind == "held"
    assert (
        held.because
        == "differs from the file since 2026-11-21T12:00:00Z, by ada: `rollback --why complaints`"
    )
    assert "write it into the file" in held.advice and "--take-back" in held.advice
    assert planned(B, take_back=True, **facts).kind == "deploy"


def test_a_champion_put_there_by_hand_is_held_while_the_file_is_the_same_and_noted_when_it_goes_on():
    mover = Word(at=AT, by="ada", command="deploy", why="a try")
    same = planned(B, champion=C, earlier=(B, A), mover=mover, applied=B)
    assert (same.kind, "ada" in same.because) == ("held", True)
    assert planned(B, champion=C, earlier=(B, A), mover=mover, applied=B, take_back=True).kind == "roll back"
    onward = planned(A, champion=C, earlier=(), mover=mover, applied=B)
    assert (onward.kind, "by ada" in onward.notes[0]) == ("deploy", True)


def test_what_may_not_go_into_service_is_blocked_and_a_champion_is_not():
    assert planned(None, aim={"obstacle": "no such digest"}).because == "no such digest"
    assert planned(B, champion=A, aim={"obstacle": "rejected"}, earlier=(B,)).kind == "blocked"
    assert planned(B, champion=B, aim={"obstacle": "rejected", "barrier": "gates"}).kind == "nothing"
    undecided = planned(B, champion=A, aim={"barrier": "too few rows", "is_undecided": True})
    assert (undecided.kind, undecided.is_undecided) == ("blocked", True)


def test_a_rollout_that_stayed_undecided_is_held_as_such():
    word = Word(at=AT, by="flyball", command="rollout undecided", why="14d are over", is_person=False)
    held = planned(B, champion=A, denial=word)
    assert (held.kind, held.is_undecided) == ("held", True)
    assert held.because.endswith("by flyball: rollout undecided (14d are over)")


def test_settings_differ_by_dotted_key_also_where_a_section_is_missing():
    found = differing({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [2]}, "d": {"e": 3}})
    assert [(one.key, one.old, one.new) for one in found] == [("a.c", [1], [2]), ("d", None, {"e": 3})]


def test_a_reason_is_quoted_as_one_would_type_it():
    assert (quoted("complaints"), quoted('too "slow"'), quoted("")) == ("complaints", "\"too 'slow'\"", '""')


def carried_out(change: Change, aim: Aim, now: Standing) -> Standing:
    """How it stands when a change was done, where no rollout has ended yet."""
    replace = msgspec.structs.replace
    assert aim.digest is not None
    if change.kind in ("nothing", "wait", "held", "blocked"):
        return now
    if change.kind in ("end", "settings", "roll back"):
        kept = tuple(one for one in now.earlier if one != aim.digest)
        return replace(
            now, champion=aim.digest, settings=aim.settings, rollout=None, earlier=kept, mover=None, applied=aim.digest
        )  # fmt: skip
    if change.kind == "begin":
        return replace(now, rollout=under_way(aim.digest, is_applied=True))
    at_once = aim.strategy == "immediate" or now.champion is None
    if aim.approvals == 0 and at_once:
        return replace(
            now, champion=aim.digest, settings=aim.settings, rollout=None, mover=None, denial=None, applied=aim.digest
        )  # fmt: skip
    rollout = under_way(
        aim.digest, state="waiting" if aim.approvals else "running", missing=aim.approvals, is_applied=True
    )
    return replace(now, rollout=rollout, mover=None, denial=None, applied=aim.digest)


digests = st.sampled_from([A, B, C])
settings = st.sampled_from([OLD, NEW])
words = st.none() | st.just(BACK)
rollouts = st.none() | st.builds(
    under_way,
    digests,
    state=st.sampled_from(["running", "paused", "waiting"]),
    missing=st.integers(0, 1),
    is_applied=st.booleans(),
)
aims = st.builds(
    Aim,
    digest=digests,
    obstacle=st.sampled_from([None, None, "rejected"]),
    barrier=st.sampled_from([None, None, "not champion of staging"]),
    settings=settings,
    strategy=st.sampled_from(["canary", "immediate"]),
    approvals=st.sampled_from([0, 0, 1]),
)
standings = st.builds(
    Standing,
    champion=st.none() | digests,
    settings=settings,
    rollout=rollouts,
    earlier=st.lists(digests, max_size=2).map(tuple),
    denial=words,
    mover=words,
    applied=st.none() | digests,
)


@given(aims, standings, st.booleans())
def test_the_plan_of_a_plans_result_is_empty(aim: Aim, now: Standing, take_back: bool):
    change = compare(aim, now, take_back=take_back)
    after = carried_out(change, aim, now)
    again = compare(aim, after, take_back=take_back)
    if change.is_acting:
        assert again.kind in ("nothing", "wait"), (change, again)
    else:
        assert again == change
    assert carried_out(again, aim, after) == after


@given(aims, standings)
def test_nothing_that_people_decided_is_undone_unless_asked(aim: Aim, now: Standing):
    change = compare(aim, now)
    if now.denial is not None and now.champion != aim.digest:
        assert not change.is_acting
    if now.rollout is not None and not now.rollout.is_applied:
        assert change.ends is None
        assert change.kind not in ("first", "deploy", "roll back")


@given(aims, standings)
def test_nothing_is_deployed_that_may_not_go_into_service(aim: Aim, now: Standing):
    change = compare(aim, now, take_back=True)
    if aim.obstacle is not None:
        assert change.kind not in ("first", "deploy", "begin", "roll back")
    if aim.barrier is not None:
        assert change.kind not in ("first", "deploy")
