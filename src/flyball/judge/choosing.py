"""Which rows a retraining should use, by progressive validation, and whether it would gain anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from flyball.core.durations import parse_duration
from flyball.core.errors import BadInput

TRAINING_WINDOWS = ("expanding", "365d", "180d", "120d", "90d", "60d")
LEAST_TRAINING_ROWS = 300
# What a confirmed loss of 1.25 times the reference (`drift.performance`) promises to win back: 1 - 1 / 1.25.
LEAST_GAIN_SHARE = 0.2


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One step of progressive validation, in Unix seconds: train on [.., train_until), test on [test_from,
    test_until).

    Only rows whose outcome was known when the test part began may train, hence the gap of the outcome delay.
    """

    train_until: float
    test_from: float
    test_until: float


class FoldLosses(msgspec.Struct, frozen=True, kw_only=True):
    """Mean loss per fold, oldest first, of one way to train or of the champion; None where it could not be
    trained.

    row_counts: test rows per fold.
    """

    name: str
    losses: list[float | None]
    row_counts: list[int]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The training window that did best on recent outcomes, and whether retraining is worth it.

    name: None when none could be judged. losses: mean progressive loss per window that could be judged. gain:
    champion's loss minus the best one, on the same rows.
    """

    act: bool
    name: str | None
    because: str
    loss: float | None = None
    champion_loss: float | None = None
    gain: float | None = None
    losses: dict[str, float] = {}


def progressive_folds(
    until: float, *, window_seconds: float, outcome_delay_seconds: float, count: int = 4
) -> list[Fold]:
    """The last `count` windows before `until`, each tested by a model trained on rows known when it began.

    until: end of the last window with all outcomes due. Oldest fold first.
    Source: Dawid (1984), Prequential analysis, JRSS A 147(2).
    """
    if count < 1 or window_seconds <= 0:
        raise BadInput("progressive validation needs at least one fold of some length")
    folds = []
    for back in range(count - 1, -1, -1):
        test_until = until - back * window_seconds
        test_from = test_until - window_seconds
        folds.append(
            Fold(train_until=test_from - outcome_delay_seconds, test_from=test_from, test_until=test_until)
        )
    return folds


def training_start(name: str, train_until: float) -> float:
    """The earliest event that a training window uses, in Unix seconds: minus infinity for `expanding`.

    >>> training_start("60d", 6_000_000.0)
    816000.0
    """
    if name == "expanding":
        return -math.inf
    return train_until - parse_duration(name.removeprefix("sliding ")).total_seconds()


def choose(
    candidates: Sequence[FoldLosses],
    champion: FoldLosses,
    *,
    least_gain: float,
    least_share: float = LEAST_GAIN_SHARE,
) -> Choice:
    """The best training window, and whether its gain over the champion's own answers is worth a retraining.

    Losses are means over the folds' rows; a window that could not be trained in some fold is left out, so
    that all are compared on the same rows. least_gain: in the unit of the loss, usually the rollout's margin;
    least_share: of the champion's loss. Both must be reached: a smaller gain could hardly be told from noise
    afterwards, and would use up the budget of retrainings. The gain is that of the best of several, so a
    little too good; the gate and the rollout judge the candidate itself.
    """
    judged = {c.name: _mean(c) for c in candidates if all(loss is not None for loss in c.losses) and c.losses}
    known = {name: loss for name, loss in judged.items() if loss is not None}
    champion_loss = _mean(champion)
    if not known:
        return Choice(act=False, name=None, because="no training window has enough rows in every recent fold")
    best = min(known, key=lambda name: known[name])
    if champion_loss is None:
        return Choice(
            act=False,
            name=best,
            because="the champion's recent losses are not known, so no gain can be estimated",
            loss=known[best],
            losses=known,
        )
    gain = champion_loss - known[best]
    needed = max(least_gain, least_share * champion_loss)
    act = gain >= needed
    words = f"a gain of {gain:.3g}" if gain else "no gain"
    because = (
        f"trained on {_in_words(best)}, recent windows would have had a loss of {known[best]:.4g} instead of "
        f"{champion_loss:.4g}: {words}, {'at least' if act else 'less than'} {needed:.3g}"
    )
    return Choice(
        act=act,
        name=best,
        because=because,
        loss=known[best],
        champion_loss=champion_loss,
        gain=gain,
        losses=known,
    )


def _mean(losses: FoldLosses) -> float | None:
    known = [(loss, n) for loss, n in zip(losses.losses, losses.row_counts, strict=True) if loss is not None]
    rows = sum(n for _, n in known)
    return sum(loss * n for loss, n in known) / rows if rows else None


def _in_words(name: str) -> str:
    return "all rows so far" if name == "expanding" else f"the last {name.removeprefix('sliding ')}"
