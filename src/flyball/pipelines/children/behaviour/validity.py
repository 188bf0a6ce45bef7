"""Tests of single answers: rows with known answers, the contract's borders, and the packaged golden batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flyball.core.contract import FeatureRule, check_row
from flyball.core.errors import FlyballError
from flyball.core.project import ModelTestSection
from flyball.core.records import label_text
from flyball.core.values import Verdict
from flyball.judge.behaviour.changes import ROUNDING
from flyball.judge.behaviour.found import MOST_EXAMPLES, Found, not_shown, sizes
from flyball.pipelines.children.behaviour.results import Shown
from flyball.pipelines.children.behaviour.subject import Subject, put
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.golden import read_golden

BORDER_ROWS = 20
UNKNOWN_VALUE = "a value never seen before"
# Two forms of one model, asked on two machines, differ by less.
_REPEATED = 1e-6


def answers(test: ModelTestSection, subject: Subject) -> Shown:
    """Rows as a request would carry them, and what each has to get."""
    broken = [
        f"row {at}: {violation.feature} is {violation.got}, expected {violation.expected}"
        for at, row in enumerate(test.rows)
        for violation in check_row(subject.contract, row, at)
    ]
    if broken:
        return Found(Verdict("fail", f"the contract refuses the rows: {'; '.join(broken[:3])}")), []
    given = subject.predictor.predict_rows(test.rows)
    numbers = subject.numbers_of(given)
    labels = subject.predictor.classes
    bad, wanted = [], _wanted(test)
    for at, row in enumerate(test.rows):
        said: Any = subject.shown(numbers[at])
        if test.expected is not None and labels is not None:
            decided = int(subject.decided(numbers[at : at + 1])[0])
            said = _label(subject, decided)
            is_right = label_text(said) == label_text(test.expected)
        elif test.expected is not None:
            is_right = abs(float(numbers[at]) - float(test.expected)) <= (test.max_change or 0.0) + ROUNDING
        else:
            low = -math.inf if test.min is None else test.min
            high = math.inf if test.max is None else test.max
            is_right = low - ROUNDING <= float(numbers[at]) <= high + ROUNDING
        if not is_right:
            bad.append(subject.example(row, answer=said, expected=wanted))
    words = f"{len(bad)} of {len(test.rows)} rows are not answered with {wanted}"
    if bad:
        return Found(Verdict("fail", words)), bad[:MOST_EXAMPLES]
    return Found(Verdict("pass", f"{len(test.rows)} of {len(test.rows)} rows are answered with {wanted}")), []


def borders(test: ModelTestSection, subject: Subject) -> Shown:
    """The least, the greatest, each listed and unknown values of the features, in real rows: answers are usable."""
    for name in test.features:
        subject.column(name)
    base = subject.sample.head(BORDER_ROWS)
    if base.height == 0:
        return not_shown("there is no held-out row to start from"), []
    rules = {
        name: rule
        for name, rule in subject.contract.features.items()
        if name in (test.features or subject.features)
    }
    probes = [
        ({name: value}, put(base, name, value)) for name, rule in rules.items() for value in _border(rule)
    ]
    for side in ("min", "max"):
        together = {
            name: getattr(rule, side) for name, rule in rules.items() if getattr(rule, side) is not None
        }
        frame = base
        for name, value in together.items():
            frame = put(frame, name, value)
        if len(together) > 1:
            probes.append((together, frame))
    if not probes:
        return not_shown("the contract sets no border; give min, max or values in [contract.features]"), []
    failures = []
    for changed, frame in probes:
        try:
            subject.ask(frame)
        except (FlyballError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            row = base.row(0, named=True)
            pairs = {name: [row[name], value] for name, value in changed.items()}
            failures.append(
                subject.example(row, pairs, answer=f"{type(error).__name__}: {subject.told(error)}"[:300])
            )
    words = f"{len(failures)} of {len(probes)} borders of {len(rules)} features get no usable answer"
    if failures:
        return Found(Verdict("fail", words)), failures[:MOST_EXAMPLES]
    return Found(Verdict("pass", words)), []


def golden(test: ModelTestSection, subject: Subject) -> Shown:
    """Rows kept in a package with the answers they had: the champion's within `max_change`, else the model's own."""
    if test.max_change is not None and subject.champion is not None:
        folder, whose, allowed = subject.champion, "the champion's", test.max_change
    else:
        folder, whose, allowed = subject.package, "the package's", test.max_change or _REPEATED
    batch = read_golden(folder, read_folder_manifest(folder))
    if batch is None or not batch.rows:
        return not_shown(f"{whose} golden batch has no row"), []
    rows = batch.as_rows()
    kept = Answers(
        list(batch.predictions), None if batch.scores is None else [list(row) for row in batch.scores]
    )
    before = subject.numbers_of(kept)
    after = subject.numbers_of(subject.predictor.predict_rows(rows))
    if before.shape != after.shape:
        return not_shown(f"{whose} golden batch is about other classes"), []
    # Relative where it is the same model: large numbers are added up in another order.
    scale = (
        np.maximum(1.0, np.abs(before)).reshape(len(rows), -1).max(axis=1)
        if whose == "the package's"
        else 1.0
    )
    change = sizes(before, after)
    bad = np.flatnonzero(~(change <= allowed * scale + ROUNDING))
    bad = bad[np.argsort(-change[bad], kind="stable")]
    words = f"{len(bad)} of {len(rows)} rows of {whose} golden batch are answered otherwise than then"
    examples = [
        subject.example(rows[at], before=subject.shown(before[at]), after=subject.shown(after[at]))
        for at in bad[:MOST_EXAMPLES].tolist()
    ]
    return Found(Verdict("fail" if examples else "pass", words)), examples


def _wanted(test: ModelTestSection) -> str:
    if test.expected is not None:
        return label_text(test.expected) + (f" ± {test.max_change:g}" if test.max_change else "")
    if test.min is not None and test.max is not None:
        return f"{test.min:g} to {test.max:g}"
    return f"at least {test.min:g}" if test.min is not None else f"at most {test.max:g}"


def _label(subject: Subject, decided: int) -> Any:
    classes = subject.predictor.classes
    assert classes is not None
    if subject.project.model.task == "multiclass":
        return classes[decided]
    place = [label_text(value) for value in classes].index(label_text(subject.positive))
    return classes[place] if decided else classes[1 - place]


def _border(rule: FeatureRule) -> list[Any]:
    """The values at a rule's borders; a text that is not listed too, which serving answers unless it rejects it."""
    values: list[Any] = [value for value in (rule.min, rule.max) if value is not None]
    values += list(rule.values or ())
    if rule.type == "string":
        values.append(UNKNOWN_VALUE)
    if rule.nullable:
        values.append(None)
    return values
