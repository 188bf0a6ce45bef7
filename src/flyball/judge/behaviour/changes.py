"""Answers before and after a change of the input: the same, or no lower, or no higher."""

from __future__ import annotations

import math

import numpy as np

from flyball.judge.behaviour.found import Found, Mask, Values, few_enough, not_shown, sizes

# Arithmetic in another order differs by this much, which is no behaviour.
ROUNDING = 1e-9


def stays(before: Values, after: Values, *, max_change: float, max_share: float = 0.0) -> Found:
    """Does the answer change by at most `max_change`?

    before, after: answers of the same rows, shape (rows,) or (rows, classes); a change is the largest over classes.
    An answer that is not finite counts as a change without bound.
    """
    change = np.nan_to_num(sizes(before, after), nan=np.inf, posinf=np.inf)
    bad: Mask = change > max_change + ROUNDING
    worst = f", by up to {change.max():.4g}" if change.size and bad.any() else ""
    return few_enough(
        bad, change, max_share=max_share, what=f"answers change by more than {max_change:g}{worst}"
    )


def keeps_class(is_other: Mask, change: Values, *, max_share: float) -> Found:
    """Does the decided class stay? is_other: whether each row's class changed; change: by how much its answer did."""
    return few_enough(is_other, change, max_share=max_share, what="rows get another class")


def are_usable(answers: Values) -> Found:
    """Is there an answer for enough rows? That each is a number was seen when it was given."""
    none = np.zeros(len(answers), dtype=bool)
    return few_enough(none, np.zeros(len(answers)), max_share=0.0, what="answers can't be used")


def moves(
    before: Values, after: Values, *, effect: str, tolerance: float = 0.0, max_share: float = 0.0
) -> Found:
    """Is the answer after a change "not lower", "not higher", or `times k` or `plus k` of what it was before?

    before, after: shape (rows,). tolerance: how far in the wrong direction (or from what is expected) is forgiven.
    """
    wanted = expected_answers(before, effect)
    if wanted is not None:
        return stays(wanted, after, max_change=tolerance, max_share=max_share)
    wrong = before - after if effect == "not lower" else after - before
    wrong = np.nan_to_num(wrong, nan=np.inf)
    bad: Mask = wrong > tolerance + ROUNDING
    word = "lower" if effect == "not lower" else "higher"
    most = f" by up to {wrong.max():.4g}" if bad.any() else ""
    return few_enough(bad, wrong, max_share=max_share, what=f"answers are {word}{most}")


def expected_answers(before: Values, effect: str) -> Values | None:
    """What answers have to be after a change: as they were ("same"), or `times k`, or `plus k`; None for directions.

    >>> expected_answers(np.array([1.0, 2.0]), "times 3").tolist()
    [3.0, 6.0]
    """
    word, _, number = effect.partition(" ")
    if effect == "same":
        return before
    if word == "times":
        return before * float(number)
    return before + float(number) if word == "plus" else None


class Grid:
    """Answers along a feature's values, in order: shape (rows, values)."""

    def __init__(self, answers: Values) -> None:
        self.answers = answers

    def monotone(self, *, effect: str, tolerance: float = 0.0, max_share: float = 0.0) -> Found:
        """Is the answer, as the feature grows, never lower (or never higher) than at any smaller value?"""
        if self.answers.size == 0 or self.answers.shape[1] < 2:
            return not_shown("the feature has one value only, so nothing can grow")
        fall = self._falls(effect).max(axis=1)
        bad: Mask = fall > tolerance + ROUNDING
        word = "falls" if effect == "not lower" else "rises"
        most = f" by up to {fall.max():.4g}" if bad.any() else ""
        what = f"rows get an answer that {word}{most} as the feature grows"
        return few_enough(bad, fall, max_share=max_share, what=what)

    def steepest(self, row: int, effect: str) -> tuple[int, int]:
        """The two places (smaller value, larger value) between which a row's answer goes wrong most."""
        wrong = self._falls(effect)[row]
        after = int(wrong.argmax())
        signed = self.answers[row] if effect == "not lower" else -self.answers[row]
        return int(np.nanargmax(signed[: after + 1])), after

    def _falls(self, effect: str) -> Values:
        signed = self.answers if effect == "not lower" else -self.answers
        best = np.maximum.accumulate(signed, axis=1)
        falls: Values = np.nan_to_num(best - signed, nan=math.inf)
        return falls
