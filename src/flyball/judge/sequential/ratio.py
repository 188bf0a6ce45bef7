"""Does the candidate get the share of entities that it was assigned?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from flyball.core.errors import BadInput

SAMPLE_RATIO_ALPHA = 0.001


class ShareBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Entities first seen in one step: how many went to each arm; the candidate's assigned share in (0, 1)."""

    candidate_units: int
    champion_units: int
    share: float


def sample_ratio(blocks: Sequence[ShareBlock], *, strength: float = 100.0) -> float:
    """Logarithm of the e-value against "each step got its share"; above log(1 / SAMPLE_RATIO_ALPHA) means hold.

    A Dirichlet mixture around the assigned share, worth `strength` entities, against the share itself, per step.
    Source: Lindon, Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS, equation 8.
    """
    total = 0.0
    for block in blocks:
        if not 0.0 < block.share < 1.0:
            raise BadInput(f"a share of {block.share} must lie between 0 and 1", share=block.share)
        first, second = strength * block.share, strength * (1.0 - block.share)
        candidate, champion = block.candidate_units, block.champion_units
        total += (
            math.lgamma(first + candidate)
            + math.lgamma(second + champion)
            - math.lgamma(strength + candidate + champion)
            - math.lgamma(first)
            - math.lgamma(second)
            + math.lgamma(strength)
            - candidate * math.log(block.share)
            - champion * math.log(1.0 - block.share)
        )
    return total
