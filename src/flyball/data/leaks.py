"""Features that give the target away: one alone that all but determines it, or two whose sum or difference is it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from flyball.core.project import Task
from flyball.data.findings import Finding

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, np.dtype[Any]]

SURE = 0.999
MOST_ROWS = 20_000
_LEAST_ROWS = 30
_MOST_SUMMANDS = 200
_SUM_SAMPLE = 200


def find_leaks(frame: pl.DataFrame, features: list[str], target: str, task: Task) -> list[Finding]:
    """One finding per feature (or pair of features) that all but determines the target.

    Numbers: |rank correlation| with a regression's target, or the area under the ROC curve of a class against the
    rest, above 0.999 (or below 0.001). Categories, and whether a value is missing: the recall of the best rule,
    averaged over the classes, above 0.999 (regression: share of variance explained). Sums and differences of two
    numeric features that equal a regression's target. Looked at in at most 20,000 rows spread over the frame;
    fewer than 30 rows say nothing. A warning, not a proof: some targets are that easy.
    """
    if frame.height < _LEAST_ROWS:
        return []
    frame = frame.gather_every(max(frame.height // MOST_ROWS, 1)) if frame.height > MOST_ROWS else frame
    truth = _Truth(frame[target], task)
    findings = []
    alone = set()
    for name in features:
        found = _gives_away(frame[name], truth)
        if found is not None:
            alone.add(name)
            findings.append(_finding([name], f"{name} {found[0]}", target, found[1]))
    if task == "regression":
        findings += _find_sums(frame, [name for name in features if name not in alone], target)
    return findings


class _Truth:
    """The target as numbers: values of a regression, or class codes from 0."""

    def __init__(self, series: pl.Series, task: Task) -> None:
        import numpy as np

        self.is_number = task == "regression"
        if self.is_number:
            self.values: Array = series.to_numpy().astype(np.float64)
        else:
            self.values = series.rank("dense").to_numpy().astype(np.int64) - 1
        self.classes = 0 if self.is_number else int(self.values.max()) + 1
        self.is_single = bool((self.values == self.values[0]).all())

    @cached_property
    def ranks(self) -> Array:
        """The ranks of a regression's target."""
        return _ranks(self.values)


def _gives_away(series: pl.Series, truth: _Truth) -> tuple[str, float] | None:
    """How a feature gives the target away and how well, None when it does not."""
    import numpy as np

    missing = series.is_null().to_numpy()
    if missing.any() and not missing.all():
        strength = _explained(missing.astype(np.int64), truth)
        if strength > SURE:
            return "is missing exactly where the target has certain values", strength
    present = ~missing
    if present.sum() < _LEAST_ROWS:
        return None
    known = truth if present.all() else _Part(truth, present)
    if known.is_single:
        return None
    if series.dtype.is_numeric() or series.dtype.is_temporal():
        numbers = series.to_physical().to_numpy()[present].astype(np.float64)
        strength = _separation(numbers, known)
        return ("alone orders the rows almost as the target does", strength) if strength > SURE else None
    codes = series.rank("dense").to_numpy()[present].astype(np.int64) - 1
    if codes.max() + 1 > present.sum() / 5:
        return None  # nearly every row has its own value: that fits any target
    strength = _explained(codes, known)
    return ("alone all but determines the target", strength) if strength > SURE else None


class _Part(_Truth):
    """The target in some of the rows."""

    def __init__(self, truth: _Truth, rows: Array) -> None:
        import numpy as np

        self.is_number = truth.is_number
        self.values = truth.values[rows]
        if not self.is_number:
            self.values = np.unique(self.values, return_inverse=True)[1]
        self.classes = 0 if self.is_number else int(self.values.max()) + 1
        self.is_single = bool((self.values == self.values[0]).all())


def _separation(numbers: Array, truth: _Truth) -> float:
    """|Spearman's correlation| with numbers, or the best class's 2·|AUC - 1/2| brought to AUC's scale."""
    import numpy as np

    ranks = _ranks(numbers)
    if truth.is_number:
        if len(np.unique(numbers)) < 10:
            return 0.0
        with np.errstate(invalid="ignore"):
            return abs(float(np.nan_to_num(np.corrcoef(ranks, truth.ranks)[0, 1])))
    best = 0.0
    for code in range(min(truth.classes, 50)):
        mine = truth.values == code
        count, others = int(mine.sum()), int((~mine).sum())
        if count >= 5 and others >= 5:
            area = (ranks[mine].sum() - count * (count + 1) / 2) / (count * others)
            best = max(best, area, 1 - area)
    return float(best)


def _explained(codes: Array, truth: _Truth) -> float:
    """Mean recall of the best rule from category to class, or the share of variance between categories."""
    import numpy as np

    if truth.is_number:
        counts = np.bincount(codes)
        means = np.bincount(codes, weights=truth.values) / np.maximum(counts, 1)
        total = float(np.var(truth.values))
        return 0.0 if total == 0 else 1 - float(np.mean((truth.values - means[codes]) ** 2)) / total
    table = np.zeros((int(codes.max()) + 1, truth.classes))
    np.add.at(table, (codes, truth.values), 1)
    of_class = table.sum(axis=0)
    if (of_class < 5).any():
        return 0.0
    # The rule that recalls most: each category votes for the class of which it holds the largest share.
    said = (table / of_class).argmax(axis=1)
    hits = np.zeros(truth.classes)
    np.add.at(hits, said, table[np.arange(len(table)), said])
    return float((hits / of_class).mean())


def _find_sums(frame: pl.DataFrame, features: list[str], target: str) -> list[Finding]:
    import numpy as np

    numeric = [name for name in features if frame[name].dtype.is_numeric() and not frame[name].null_count()]
    numeric = numeric[:_MOST_SUMMANDS]
    if len(numeric) < 2:
        return []
    values = frame.select(numeric).to_numpy().astype(np.float64)
    truth = frame[target].to_numpy().astype(np.float64)
    step = max(len(truth) // _SUM_SAMPLE, 1)
    few, few_truth = values[::step][:_SUM_SAMPLE], truth[::step][:_SUM_SAMPLE]
    findings = []
    for first in range(len(numeric)):
        one, one_few = values[:, first], few[:, first]
        # The second summand that would be needed, and the second term of a difference.
        for word, needed, firsts in (("+", few_truth - one_few, first + 1), ("-", one_few - few_truth, 0)):
            close = np.asarray(np.isclose(few, needed[:, None], rtol=1e-6, atol=1e-9).all(axis=0))
            for second in (int(at) for at in np.flatnonzero(close) if at >= firsts and at != first):
                total = one + values[:, second] if word == "+" else one - values[:, second]
                share = float(np.isclose(total, truth, rtol=1e-6, atol=1e-9).mean())
                if share > SURE:
                    pair = [numeric[first], numeric[second]]
                    findings.append(
                        _finding(pair, f"{pair[0]} {word} {pair[1]} is the target", target, share)
                    )
    return findings


def _finding(names: list[str], sentence: str, target: str, strength: float) -> Finding:
    which = "it" if len(names) == 1 else "them"
    return Finding(
        kind="leak",
        sentence=f"{sentence} ({target}; {strength:.4g}). Is it known when a prediction is asked for? If not, put "
        f"{which} into [data].exclude",
        facts={"features": names, "strength": round(strength, 6)},
    )


def _ranks(values: Array) -> Array:
    """Mid-ranks from 1."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Array = ((ends - counts + 1 + ends) / 2)[inverse]
    return ranks
