from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flyball.core.project import GuardSection, RolloutSection
from flyball.delivery.evidence import (
    BLOCK_ENTITIES,
    StepShare,
    canary_evidence,
    failing,
    shadow_evidence,
)
from flyball.judge.rollout import next_action, rules_of
from flyball.monitoring.answers import shape_of

BEGIN = datetime(2012, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SHAPE = shape_of("regression", "mae", None, None)
SCHEMA = {
    "id": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
    "role": pl.String,
    "asked": pl.Int64,
    "answered": pl.Int64,
    "revision": pl.Int64,
    "request_id": pl.String,
    "entity": pl.String,
    "prediction": pl.Float64,
    "scores": pl.List(pl.Float64),
    "flags": pl.List(pl.String),
    "error": pl.String,
    "latency_us": pl.Int64,
    "outcome": pl.Float64,
}


def row(number: int, role: str, **changes) -> dict:
    at = BEGIN + timedelta(hours=number)
    asked = 1 if role == "champion" else 2
    given = {
        "id": f"prd_{number}",
        "at": at,
        "received_at": at,
        "known_at": at + DAY,
        "role": role,
        "asked": asked,
        "answered": asked,
        "revision": 2,
        "request_id": f"r{number}",
        "entity": None,
        "prediction": 100.0,
        "scores": None,
        "flags": [],
        "error": None,
        "latency_us": 900,
        "outcome": 100.0,
    }
    return {**given, **changes}


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def shadow_rules(**changes):
    section = RolloutSection(
        strategy="shadow",
        min_requests=100,
        bake="0s",
        max_duration="29d",
        guards=[GuardSection(metric="mae", max_increase=4.0)],
        **changes,
    )
    return rules_of(section, loss="mae")


def shadow(rows: pl.DataFrame, days: int, rules=None):
    until = BEGIN + days * DAY
    return shadow_evidence(
        rows,
        rules or shadow_rules(),
        SHAPE,
        until=until,
        outcome_delay=DAY,
        elapsed=days * DAY,
        baked=timedelta(0),
    )


def mirrored(days: int, worse_by: float, seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for number in range(days * 24):
        miss, other = random.normal(0, 20, 2)
        rows.append(row(number, "champion", prediction=100 + miss))
        side = 1.0 if miss + other >= 0 else -1.0
        rows.append(row(number, "shadow", prediction=100 + miss + side * worse_by))
    return frame(rows)


def test_days_are_compared_by_the_same_requests_both_answered():
    rows = [row(0, "champion", prediction=110), row(0, "shadow", prediction=103)]
    rows += [row(1, "champion", prediction=100), row(25, "champion"), row(25, "shadow", prediction=95)]
    (guard,) = shadow(frame(rows), 2).guards
    assert guard.paired == [3 - 10, 5 - 0]


def test_an_outcome_that_came_later_than_its_day_was_due_is_left_out_whenever_one_looks():
    late = BEGIN + 3 * DAY
    rows = [row(0, "champion", prediction=110, known_at=late), row(0, "shadow", known_at=late)]
    rows += [row(1, "champion", prediction=104), row(1, "shadow", prediction=101)]
    early, long_after = shadow(frame(rows), 1), shadow(frame(rows), 9)
    assert early.guards == long_after.guards
    assert early.guards[0].paired == [1 - 4]


def test_days_behind_the_boundary_are_not_seen_yet():
    rows = mirrored(5, 0.0)
    assert len(shadow(rows, 3).guards[0].paired) == 3
    assert shadow(rows, 3).candidate_requests == 72


@pytest.mark.parametrize(("worse_by", "ends"), [(0.0, {"promote"}), (12.0, {"abort"})])
def test_a_shadow_is_promoted_when_it_is_alike_and_aborted_when_it_is_worse(worse_by, ends):
    rows, rules = mirrored(28, worse_by), shadow_rules()
    actions = [next_action(rules, shadow(rows, days, rules)).action for days in range(1, 29)]
    decided = [action for action in actions if action != "wait"]
    assert decided
    assert decided[0] in ends
    assert actions.index(decided[0]) + 1 >= (7 if worse_by == 0 else 1)


def test_a_shadow_that_fails_to_answer_is_not_better_for_it():
    rows = [row(number, "champion") for number in range(200)]
    rows += [row(number, "shadow") for number in range(195)]
    rows += [
        row(number, "shadow", answered=None, prediction=None, error="exception: boom")
        for number in range(195, 200)
    ]
    assert "5 of 200" in failing(frame(rows), least_rows=5, least_share=0.01)
    assert failing(frame(rows[:-1]), least_rows=5, least_share=0.01) is None


def canary_rules(*guards: GuardSection):
    section = RolloutSection(
        strategy="canary", steps=[0.25, 1.0], min_requests=10, bake="0s", guards=list(guards)
    )
    return rules_of(section, loss="mae")


def canary(rows: pl.DataFrame, rules, steps=None, model_now: datetime = BEGIN + 60 * DAY):
    return canary_evidence(
        rows,
        rules,
        SHAPE,
        steps or [StepShare(revision=2, share=0.25)],
        outcome_delay=DAY,
        model_now=model_now,
        elapsed=DAY,
        baked=timedelta(hours=1),
    )


def crowd(entities: int, *, share: float, errors: float, repeats: int = 1, seed: int = 3) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for number in range(entities):
        role = "candidate" if random.random() < share else "champion"
        failed = role == "candidate" and random.random() < errors
        for again in range(repeats):
            changes = {"entity": f"e{number}", "error": "exception: boom" if failed else None}
            if failed:
                changes["answered"] = 1  # the champion answered; it stays the candidate's failure
            rows.append(row(number * repeats + again, role, id=f"p{number}.{again}", **changes))
    return frame(rows)


def test_the_unit_is_the_entity_and_a_fallback_is_the_candidates_failure():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    one = canary(crowd(1000, share=0.25, errors=0.5), rules)
    many = canary(crowd(1000, share=0.25, errors=0.5, repeats=5), rules)
    units = [sum(b.candidate_units for b in found.guards[0].blocks) for found in (one, many)]
    assert units[0] == units[1]
    assert sum(block.candidate_bad for block in one.guards[0].blocks) > 0.4 * units[0]
    assert sum(block.champion_bad for block in one.guards[0].blocks) == 0
    assert next_action(rules, one).action == "abort"


def test_only_closed_blocks_count_so_that_their_counts_are_final():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    found = canary(crowd(3 * BLOCK_ENTITIES - 1, share=0.5, errors=0.0), rules)
    blocks = found.guards[0].blocks
    assert len(blocks) == 2
    assert all(block.champion_units + block.candidate_units == BLOCK_ENTITIES for block in blocks)


def test_arms_of_different_steps_are_never_pooled():
    rules = canary_rules(GuardSection(metric="mae", max_increase=4.0))
    steps = [StepShare(revision=2, share=0.1), StepShare(revision=3, share=0.5)]
    # In the second step everything is harder for both arms, and the candidate gets most of its requests there.
    rows = [row(number, "champion", prediction=101) for number in range(10)]
    rows += [row(0, "candidate", id="c0", prediction=101)]
    rows += [row(number, "champion", revision=3, prediction=150) for number in range(11, 14)]
    rows += [
        row(number, "candidate", revision=3, id=f"c{number}", prediction=150) for number in range(14, 24)
    ]
    (guard,) = canary(frame(rows), rules, steps).guards
    assert guard.paired == pytest.approx([0.0])


def test_losses_wait_for_the_day_on_which_all_outcomes_are_due():
    rules = canary_rules(GuardSection(metric="mae", max_increase=4.0))
    rows = frame([row(0, "champion"), row(1, "candidate", prediction=107)])
    due = BEGIN + 2 * DAY
    assert canary(rows, rules, model_now=due - timedelta(seconds=1)).guards[0].paired == []
    assert canary(rows, rules, model_now=due).guards[0].paired == [7]


def test_latencies_are_compared_by_who_answered():
    rules = canary_rules(GuardSection(metric="latency_p99_ms", max_increase=5.0))
    rows = [row(number, "champion") for number in range(30)]
    rows += [row(100 + number, "candidate", id=f"c{number}", latency_us=20_000) for number in range(20)]
    rows += [row(200, "candidate", id="fallback", answered=1, error="timeout: slow", latency_us=10)]
    (guard,) = canary(frame(rows), rules).guards
    assert guard.champion_latency.total == 30
    assert guard.candidate_latency.total == 20


def test_an_arm_that_gets_too_few_entities_is_noticed():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    fair, unfair = (canary(crowd(2000, share=share, errors=0.0), rules) for share in (0.25, 0.15))
    assert fair.sample_ratio_log < math.log(1000)
    assert unfair.sample_ratio_log > math.log(1000)
    assert next_action(rules, unfair).action == "hold"


def test_rows_of_other_revisions_are_not_the_rollouts():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    rows = frame([row(0, "candidate"), row(1, "candidate", revision=9), row(2, "champion", revision=1)])
    assert canary(rows, rules).candidate_requests == 1


BATCH = 399


def batches(requests: int, *, share: float, seed: int = 5, **changes) -> pl.DataFrame:
    """Requests of many rows without an entity: each was routed as a whole, by one key that its rows share."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(requests):
        role = "candidate" if random.random() < share else "champion"
        rows += [
            row(number, role, id=f"p{number}.{index}", request_id=f"p{number}.0", **changes)
            for index in range(BATCH)
        ]
    return frame(rows)


def test_rows_of_one_request_were_assigned_together_and_count_once():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    found = canary(batches(200, share=0.05), rules, [StepShare(revision=2, share=0.05)])
    assert found.sample_ratio_log < math.log(1000)
    assert found.candidate_requests < 30
    units = sum(block.champion_units + block.candidate_units for block in found.guards[0].blocks)
    assert units == 200
    assert next_action(rules, found).action != "hold"


def test_thirteen_large_requests_are_too_little_for_any_word_about_the_arms():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    for seed in range(20):
        found = canary(batches(13, share=0.05, seed=seed), rules, [StepShare(revision=2, share=0.05)])
        assert next_action(rules, found).action == "wait"


def test_a_request_has_one_latency_however_many_rows_it_has():
    rules = canary_rules(GuardSection(metric="latency_p99_ms", max_increase=5.0))
    (guard,) = canary(batches(40, share=0.5), rules).guards
    assert guard.champion_latency.total + guard.candidate_latency.total == 40


def test_large_requests_that_are_harder_make_no_arm_worse():
    rules = canary_rules(GuardSection(metric="mae", max_increase=4.0))
    hard = [row(0, "champion", id=f"h{index}", request_id="h", prediction=190) for index in range(BATCH)]
    easy = [row(number, "champion", prediction=110) for number in range(1, 4)]
    others = [row(4, "candidate", prediction=190)]
    others += [row(number, "candidate", prediction=110) for number in range(5, 8)]
    (guard,) = canary(frame([*hard, *easy, *others]), rules).guards
    assert guard.paired == pytest.approx([0.0])


def test_rows_that_were_refused_before_they_were_routed_are_in_no_arm():
    rules = canary_rules(GuardSection(metric="error_rate", max_increase=0.05))
    refused = [
        row(5000 + n, "champion", request_id=None, answered=None, prediction=None, error="rejected")
        for n in range(2000)
    ]
    rows = pl.concat([crowd(400, share=0.25, errors=0.0), frame(refused)])
    found = canary(rows, rules)
    assert found.sample_ratio_log < math.log(1000)
    assert sum(block.champion_bad for block in found.guards[0].blocks) == 0


def disagreeing() -> pl.DataFrame:
    """Days of requests of many rows: in every tenth of them both versions differ in each row."""
    rows = []
    for number in range(120):
        other = 100.0 if number % 10 else 101.0
        for index in range(20):
            key = {"id": f"p{number}.{index}", "request_id": f"p{number}.0"}
            rows.append(row(number, "champion", **key))
            rows.append(row(number, "shadow", **key, prediction=other))
    return frame(rows)


def test_answers_of_a_shadow_that_differ_are_counted_by_request():
    rules = rules_of(
        RolloutSection(strategy="shadow", guards=[GuardSection(metric="disagreement", max_increase=0.3)]),
        loss="mae",
    )
    (guard,) = shadow(disagreeing(), 5, rules).guards
    assert (guard.share_units, guard.share_bad) == (120, pytest.approx(12.0))


def test_an_entity_that_comes_again_says_nothing_new_about_a_shadow():
    rows = [
        row(number, role, id=f"p{number}", entity=f"e{number % 24}", **changes)
        for number in range(5 * 24)
        for role, changes in (("champion", {}), ("shadow", {"prediction": 101.0, "error": None}))
    ]
    guards = [
        GuardSection(metric="disagreement", max_increase=0.3),
        GuardSection(metric="error_rate", max_increase=0.05),
    ]
    differ, failures = shadow(
        frame(rows), 5, rules_of(RolloutSection(strategy="shadow", guards=guards), loss="mae")
    ).guards
    assert (differ.share_units, differ.share_bad) == (24, pytest.approx(24.0))
    assert [(block.champion_units, block.candidate_units) for block in failures.blocks] == [(24, 24)]
