"""Two arms of a canary compared by the share of their entities that went wrong, at any number of looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput
from flyball.judge.sequential.betting import BET_SHARES, BET_WEIGHTS, log_sum

_REPEATS = 16


class ArmBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Entities first seen in one step and block of time, as assigned, and how many of them met the harm."""

    champion_units: int
    champion_bad: int
    candidate_units: int
    candidate_bad: int


class ArmEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence about candidate minus champion share. The e-values are 1.0 while nothing was seen."""

    estimate: float | None
    log_not_worse: float
    log_harm: float
    pairs: int


def difference_evidence(blocks: Sequence[ArmBlock], margin: float, *, seed: int) -> ArmEvidence:
    """How far the counts speak for "worse by less than `margin`" and for "worse by more than `margin`".

    blocks: in the order of time; a block's counts are final when it is given. margin: share in (0, 1).
    Within a block each unit of the smaller arm is matched with as many units of the other as all can have, so
    that shares are compared inside one step and moment, never across changing weights. A match gives one
    value in [-1, 1]; fixed bets on the values make an e-value, and the mean over random matchings (fixed by
    `seed`) is one too. Units of a block are assumed exchangeable. Sources: Waudby-Smith, Ramdas (2023);
    matching in blocks as in Turner, Ly, Gruenwald (2024), Generic E-variables for exact sequential k-sample
    tests, section 2.
    """
    if not 0.0 < margin < 1.0:
        raise BadInput(f"a margin of {margin} is no share between 0 and 1", margin=margin)
    rng = np.random.default_rng(seed)
    harm_bets, safe_bets = BET_SHARES / (1.0 + margin), BET_SHARES / (1.0 - margin)
    harm = np.zeros((len(BET_SHARES), _REPEATS))
    safe = np.zeros((len(BET_SHARES), _REPEATS))
    pairs, weighted, units = 0, 0.0, 0
    for block in blocks:
        _check(block)
        matches = min(block.candidate_units, block.champion_units)
        if matches == 0:
            continue
        pairs += matches
        weighted += matches * (
            block.candidate_bad / block.candidate_units - block.champion_bad / block.champion_units
        )
        units += matches
        for repeat in range(_REPEATS):
            values, counts = _matched(block, rng)
            harm[:, repeat] += np.log1p(harm_bets[:, None] * (values - margin)[None, :]) @ counts
            safe[:, repeat] += np.log1p(safe_bets[:, None] * (margin - values)[None, :]) @ counts
    if pairs == 0:
        return ArmEvidence(estimate=None, log_not_worse=0.0, log_harm=0.0, pairs=0)
    weights = (np.log(BET_WEIGHTS)[:, None] - math.log(_REPEATS)) * np.ones((1, _REPEATS))
    return ArmEvidence(
        estimate=weighted / units,
        log_not_worse=float(log_sum((safe + weights).reshape(-1, 1))[0]),
        log_harm=float(log_sum((harm + weights).reshape(-1, 1))[0]),
        pairs=pairs,
    )


def _matched(block: ArmBlock, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct differences (candidate minus champion) of one random matching, and how often each occurs."""
    flipped = block.candidate_units > block.champion_units
    small, small_bad = block.candidate_units, block.candidate_bad
    large, large_bad = block.champion_units, block.champion_bad
    if flipped:
        small, small_bad, large, large_bad = large, large_bad, small, small_bad
    group = large // small
    # Only units of the larger arm that are bad matter: deal them over `small` groups of `group`, the rest
    # unused.
    dealt = rng.multivariate_hypergeometric(
        [group] * small + [large - group * small], large_bad, method="marginals"
    )[:small]
    bad = np.zeros(small)
    bad[:small_bad] = 1.0  # groups are exchangeable, so the order of the smaller arm may be fixed
    values = bad - dealt / group
    if flipped:
        values = -values
    distinct, counts = np.unique(values, return_counts=True)
    return distinct, counts.astype(np.float64)


def _check(block: ArmBlock) -> None:
    good = (
        0 <= block.champion_bad <= block.champion_units and 0 <= block.candidate_bad <= block.candidate_units
    )
    if not good:
        raise BadInput(f"counts of a block contradict each other: {block}")
