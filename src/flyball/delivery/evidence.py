"""Evidence about a candidate from the log: paired daily losses, entities by arm, latencies, counts of answers.

The unit is what was assigned to an arm: the entity, or the request where its rows name none. Rows of one unit are
alike, so each unit speaks once, when it is first seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.judge.guards import GuardEvidence, GuardRule
from flyball.judge.rollout import RolloutEvidence, RolloutRules
from flyball.judge.sequential.proportions import ArmBlock
from flyball.judge.sequential.quantiles import count_latencies
from flyball.judge.sequential.ratio import ShareBlock, sample_ratio
from flyball.monitoring.answers import AnswerShape, row_harms

if TYPE_CHECKING:
    import polars as pl

DAY = timedelta(days=1)
# Entities are compared in blocks of as many first-seen ones: a block is closed, and its counts final, when the next
# one begins.
BLOCK_ENTITIES = 50


class StepShare(msgspec.Struct, frozen=True, kw_only=True):
    """A step's deployment revision and the candidate's assigned share of keys in it."""

    revision: int
    share: float


def shadow_evidence(
    frame: pl.DataFrame,
    rules: RolloutRules,
    shape: AnswerShape,
    *,
    until: datetime,
    outcome_delay: timedelta,
    elapsed: timedelta,
    baked: timedelta,
) -> RolloutEvidence:
    """What is known of a shadow about the days before `until`, with the outcomes each day's own moment knew.

    frame: champion's and shadow's rows of the rollout with outcomes; `until` is a day boundary.
    """
    import polars as pl

    seen = frame.filter(pl.col("at") < until)
    pairs = _pairs(seen)
    guards = []
    for rule in rules.guards:
        guards.append(_shadow_guard(rule, seen, pairs, shape, outcome_delay))
    return RolloutEvidence(
        step=0,
        elapsed_seconds=elapsed.total_seconds(),
        bake_elapsed_seconds=baked.total_seconds(),
        candidate_requests=seen.filter(pl.col("role") == "shadow").height,
        guards=guards,
    )


def canary_evidence(
    frame: pl.DataFrame,
    rules: RolloutRules,
    shape: AnswerShape,
    steps: list[StepShare],
    *,
    outcome_delay: timedelta,
    model_now: datetime,
    elapsed: timedelta,
    baked: timedelta,
) -> RolloutEvidence:
    """What is known of a canary: arms as they were assigned, within steps, never pooled over their shares."""
    import polars as pl

    rows = _assigned(frame.filter(pl.col("role").is_in(["champion", "candidate"])))
    rows = rows.with_columns(
        is_candidate=pl.col("role") == "candidate",
        step=pl.col("revision").replace_strict(
            {step.revision: index for index, step in enumerate(steps)}, default=None, return_dtype=pl.Int64
        ),
    ).filter(pl.col("step").is_not_null())
    firsts = rows.sort("received_at").unique("entity_key", keep="first", maintain_order=True)
    last = len(steps) - 1
    return RolloutEvidence(
        step=last,
        elapsed_seconds=elapsed.total_seconds(),
        bake_elapsed_seconds=baked.total_seconds(),
        candidate_requests=rows.filter((pl.col("step") == last) & pl.col("is_candidate"))[
            "request_key"
        ].n_unique(),
        guards=[_canary_guard(rule, rows, firsts, shape, outcome_delay, model_now) for rule in rules.guards],
        sample_ratio_log=sample_ratio(_shares(firsts, steps)),
    )


def failing(frame: pl.DataFrame, *, least_rows: int, least_share: float) -> str | None:
    """The sentence that a shadow fails to answer, where it does so in enough rows; else None.

    Rows it did not answer can't be compared, and would make it look better than it is.
    """
    import polars as pl

    asked = frame.filter(pl.col("role") == "shadow")
    failed = asked.filter(pl.col("error").is_not_null())
    if failed.height < least_rows or failed.height < least_share * asked.height:
        return None
    reason = failed["error"][-1]
    return f"the candidate failed to answer {failed.height} of {asked.height} mirrored requests: {reason}"


def tell_failures(frame: pl.DataFrame) -> str | None:
    """How often a canary failed to answer, and how it began, in one sentence; None if it never did.

    The first failure says what is wrong with it; the later ones may only say that it was being started again.
    """
    import polars as pl

    asked = frame.filter(pl.col("role") == "candidate")
    failed = asked.filter(pl.col("error").is_not_null()).sort("received_at")
    if failed.height == 0:
        return None
    return (
        f"the candidate failed in {failed.height} of {asked.height} requests, first with {failed['error'][0]}"
    )


def _assigned(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that a version was chosen for, with the key they were assigned by and the one of their request."""
    import polars as pl

    # What [model] on_violation refuses is logged before it is routed, as a row of the champion.
    return rows.filter(pl.col("error").ne_missing("rejected")).with_columns(
        entity_key=pl.coalesce("entity", "request_id", "id"), request_key=pl.coalesce("request_id", "id")
    )


def _pairs(seen: pl.DataFrame) -> pl.DataFrame:
    """One row per request that both answered; the candidate's answer in columns ending in `_candidate`."""
    import polars as pl

    answered = seen.filter(pl.col("answered").is_not_null() & pl.col("prediction").is_not_null())
    shadow = answered.filter(pl.col("role") == "shadow").select(
        "id", pl.col("prediction").alias("prediction_candidate"), pl.col("scores").alias("scores_candidate")
    )
    return answered.filter(pl.col("role") == "champion").join(shadow, on="id", how="inner").sort("at")


def _shadow_guard(
    rule: GuardRule,
    seen: pl.DataFrame,
    pairs: pl.DataFrame,
    shape: AnswerShape,
    outcome_delay: timedelta,
) -> GuardEvidence:
    import polars as pl

    if rule.kind == "paired_loss":
        return GuardEvidence(
            metric=rule.metric, paired=_paired_days(pairs, shape, rule.metric, outcome_delay)
        )
    if rule.kind == "share":
        return _disagreement(rule, pairs)
    rows = _assigned(seen).with_columns(is_candidate=pl.col("role") == "shadow")
    if rule.kind == "latency":
        return _latencies(rule, rows, "shadow")
    return GuardEvidence(metric=rule.metric, blocks=_mirrored_blocks(rows, rule.metric))


def _disagreement(rule: GuardRule, pairs: pl.DataFrame) -> GuardEvidence:
    """Each unit's share of differing answers, in the first request that it was in, so that it is final."""
    import polars as pl

    rows = _assigned(pairs).sort("received_at")
    units = (
        rows.filter(pl.col("request_key") == pl.col("request_key").first().over("entity_key"))
        .group_by("entity_key")
        .agg(differ=(pl.col("prediction") != pl.col("prediction_candidate")).mean())
    )
    return GuardEvidence(metric=rule.metric, share_units=units.height, share_bad=float(units["differ"].sum()))


def _paired_days(
    pairs: pl.DataFrame, shape: AnswerShape, metric: str, outcome_delay: timedelta
) -> list[float] | None:
    """Mean harm of the candidate minus that of the champion per day, oldest first; None where it has no value."""
    import polars as pl

    due = _with_due_outcomes(pairs, outcome_delay)
    if due.height == 0:
        return []
    champion = row_harms(due, shape, metric)
    candidate = row_harms(
        due.with_columns(prediction=pl.col("prediction_candidate"), scores=pl.col("scores_candidate")),
        shape,
        metric,
    )
    if champion is None or candidate is None:
        return None
    days = due.select(day=pl.col("at").dt.truncate("1d")).with_columns(
        difference=pl.Series(candidate - champion)
    )
    return [
        float(value)
        for value in days.group_by("day").agg(pl.col("difference").mean()).sort("day")["difference"]
    ]


def _with_due_outcomes(rows: pl.DataFrame, outcome_delay: timedelta) -> pl.DataFrame:
    """Rows whose outcome was known when their day's outcomes were due."""
    import polars as pl

    if "outcome" not in rows.columns:
        return rows.head(0)
    due_at = pl.col("at").dt.truncate("1d") + DAY + outcome_delay
    return rows.filter(pl.col("outcome").is_not_null() & (pl.col("known_at") <= due_at))


def _canary_guard(
    rule: GuardRule,
    rows: pl.DataFrame,
    firsts: pl.DataFrame,
    shape: AnswerShape,
    outcome_delay: timedelta,
    model_now: datetime,
) -> GuardEvidence:
    if rule.kind == "paired_loss":
        days = _arm_days(rows, shape, rule.metric, outcome_delay, model_now)
        return GuardEvidence(metric=rule.metric, paired=days)
    if rule.kind == "share":  # nobody is asked twice, so nothing can disagree
        return GuardEvidence(metric=rule.metric)
    if rule.kind == "latency":
        return _latencies(rule, rows, "candidate")
    return GuardEvidence(metric=rule.metric, blocks=_arm_blocks(rows, firsts, rule.metric))


def _arm_days(
    rows: pl.DataFrame, shape: AnswerShape, metric: str, outcome_delay: timedelta, model_now: datetime
) -> list[float] | None:
    """Per day, mean harm in the candidate's arm minus that in the champion's; steps of one day compared apart.

    Means of units' means: weighted by rows, the arm with fewer units would have another expectation than the other
    wherever large requests are harder than small ones.
    """
    import polars as pl

    due = _with_due_outcomes(rows.filter(pl.col("prediction").is_not_null()), outcome_delay)
    due = due.filter(pl.col("at").dt.truncate("1d") + DAY + outcome_delay <= model_now)
    if due.height == 0:
        return []
    harms = row_harms(due, shape, metric)
    if harms is None:
        return None
    cells = (
        due.with_columns(harm=pl.Series(harms), day=pl.col("at").dt.truncate("1d"))
        .group_by("day", "step", "entity_key", "is_candidate")
        .agg(pl.col("harm").mean())
        .group_by("day", "step")
        .agg(
            ours=pl.col("harm").filter(pl.col("is_candidate")).mean(),
            theirs=pl.col("harm").filter(~pl.col("is_candidate")).mean(),
            weight=pl.col("is_candidate").sum(),
        )
        .filter(pl.col("ours").is_not_null() & pl.col("theirs").is_not_null())
    )
    weighted = (pl.col("ours") - pl.col("theirs")) * pl.col("weight")
    days = cells.group_by("day").agg(difference=weighted.sum() / pl.col("weight").sum()).sort("day")
    return [float(value) for value in days["difference"]]


def _is_bad(metric: str) -> Any:
    import polars as pl

    if metric == "contract_violations":
        return pl.col("flags").list.len().fill_null(0) > 0
    return pl.col("error").is_not_null()


def _arm_blocks(rows: pl.DataFrame, firsts: pl.DataFrame, metric: str) -> list[ArmBlock]:
    """Closed blocks of first-seen entities per step, and how many met the harm before their block closed."""
    import polars as pl

    numbered = firsts.with_columns(
        block=(pl.int_range(pl.len()).over("step") // BLOCK_ENTITIES).cast(pl.Int64)
    )
    closed_at = numbered.group_by("step", "block").agg(
        closed_at=pl.col("received_at").max(), entities=pl.len()
    )
    placed = numbered.select("entity_key", "step", "block", "is_candidate").join(
        closed_at.filter(pl.col("entities") == BLOCK_ENTITIES), on=["step", "block"], how="inner"
    )
    harmed = (
        rows.select("entity_key", "received_at", "step", bad=_is_bad(metric))
        .join(placed.drop("is_candidate"), on=["entity_key", "step"], how="inner")
        .filter(pl.col("bad") & (pl.col("received_at") <= pl.col("closed_at")))["entity_key"]
        .unique()
    )
    placed = placed.with_columns(bad=pl.col("entity_key").is_in(harmed.implode()))
    return _to_blocks(
        placed.group_by("step", "block", maintain_order=False).agg(*_arm_counts()).sort("step", "block")
    )


def _mirrored_blocks(rows: pl.DataFrame, metric: str) -> list[ArmBlock]:
    """One block per day, of the entities first seen on it: every entity was asked of both."""
    import polars as pl

    days = rows.with_columns(day=pl.col("at").dt.truncate("1d"))
    units = (
        days.filter(pl.col("day") == pl.col("day").min().over("entity_key"))
        .group_by("day", "entity_key", "is_candidate")
        .agg(bad=_is_bad(metric).any())
    )
    return _to_blocks(units.group_by("day").agg(*_arm_counts()).sort("day"))


def _arm_counts() -> list[Any]:
    import polars as pl

    mine, bad = pl.col("is_candidate"), pl.col("bad")
    return [
        (~mine).sum().alias("champion_units"),
        (~mine & bad).sum().alias("champion_bad"),
        mine.sum().alias("candidate_units"),
        (mine & bad).sum().alias("candidate_bad"),
    ]


def _to_blocks(counted: pl.DataFrame) -> list[ArmBlock]:
    names = ("champion_units", "champion_bad", "candidate_units", "candidate_bad")
    return [ArmBlock(**{name: int(row[name]) for name in names}) for row in counted.iter_rows(named=True)]


def _latencies(rule: GuardRule, rows: pl.DataFrame, arm: str) -> GuardEvidence:
    """Latencies of answers by the version that was asked, in milliseconds; a fallback is no answer of it.

    One per request: its rows are answered together.
    """
    import polars as pl

    own = rows.filter(pl.col("answered") == pl.col("asked")).unique(
        ["request_key", "role"], keep="first", maintain_order=True
    )

    def of(role: str) -> Any:
        return count_latencies((own.filter(pl.col("role") == role)["latency_us"] / 1000.0).to_list())

    return GuardEvidence(metric=rule.metric, champion_latency=of("champion"), candidate_latency=of(arm))


def _shares(firsts: pl.DataFrame, steps: list[StepShare]) -> list[ShareBlock]:
    import polars as pl

    blocks = []
    for index, step in enumerate(steps):
        if not 0.0 < step.share < 1.0:
            continue
        own = firsts.filter(pl.col("step") == index)
        mine = int(own["is_candidate"].sum())
        blocks.append(ShareBlock(candidate_units=mine, champion_units=own.height - mine, share=step.share))
    return blocks
