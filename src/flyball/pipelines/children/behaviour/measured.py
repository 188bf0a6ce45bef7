"""Tests of what the model knows: better than no model, honest probabilities, nothing that gives the outcome away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flyball.core.durations import parse_duration
from flyball.core.errors import NotEnoughEvidence
from flyball.core.project import ModelTestSection
from flyball.core.records import label_text
from flyball.core.values import Verdict
from flyball.judge.behaviour.alone import MOST_TOLD, none_tells_all
from flyball.judge.behaviour.baseline import beats
from flyball.judge.behaviour.calibration import calibrated
from flyball.judge.behaviour.found import Found, not_shown
from flyball.judge.metrics.measure import Answers, paired_difference
from flyball.judge.metrics.table import default_loss, get_metric, is_positive
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.behaviour.results import Shown
from flyball.pipelines.children.behaviour.subject import MOST_ROWS, Subject
from flyball.pipelines.children.measuring import losses_of, take

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MOST_FEATURES = 100
MOST_SHIFTS = 3


def baseline(test: ModelTestSection, subject: Subject) -> Shown:
    """The model beside answers that need none, on the same held-out rows."""
    task = subject.project.model.task
    than = test.than or ("mean" if task == "regression" else "prior")
    rows, answers = baseline_answers(subject, than)
    held = take(subject.held, rows)
    has_scores = held.scores is not None and answers.scores is not None
    metric = test.metric or (default_loss(task) if task == "regression" or has_scores else "accuracy")
    mine = Answers(prediction=held.prediction, scores=held.scores, classes=held.classes)
    groups = None if subject.groups is None else subject.groups[rows]
    try:
        paired = paired_difference(
            task, metric, held.truth, answers, mine,
            seed=subject.project.train.seed, positive=held.positive, groups=groups, confidence=test.confidence,
        )  # fmt: skip
    except NotEnoughEvidence as error:
        return not_shown(error.message), []
    return beats(paired, larger_is_better=get_metric(metric, task).larger_is_better, name=than), []


def calibration(test: ModelTestSection, subject: Subject) -> Shown:
    """Probabilities of the positive class beside what came."""
    held = subject.held
    if held.scores is None:
        return not_shown("the model gives no probabilities"), []
    assert test.max_error is not None
    truth = is_positive(held.truth, held.positive).astype(bool)
    found = calibrated(held.scores, truth, max_error=test.max_error, confidence=test.confidence)
    features = subject.test.select(subject.features)
    examples = [
        subject.example(
            features.row(row, named=True), answer=subject.shown(held.scores[row]), outcome=held.truth[row]
        )
        for row in found.worst
    ]
    return found, examples


def leak(test: ModelTestSection, subject: Subject) -> Shown:
    """Features that give the outcome away: by themselves, from the future, or by telling the model nearly all."""
    model, features = subject.project.model, subject.features
    columns = [*features, model.target, *[c for c in (model.entity, model.time) if c is not None]]
    from flyball.data.leaks import find_leaks

    frame = subject.train.select(
        list(dict.fromkeys(column for column in columns if column in subject.train.columns))
    )
    given_away = find_leaks(frame.drop_nulls(model.target), features, model.target, model.task)
    if given_away:
        finding = given_away[0]
        return Found(Verdict("fail", finding.sentence)), _leaking_rows(subject, finding.facts["features"])
    ahead = _from_the_future(frame, subject)
    if ahead is not None:
        name, words = ahead
        return Found(Verdict("fail", words)), _leaking_rows(subject, [name])
    return _told_by_one(test, subject)


def baseline_answers(subject: Subject, than: str) -> tuple[NDArray[np.int64], Answers]:
    """Held-out rows (by number) that a baseline has an answer for, and its answers."""
    task, target = subject.project.model.task, subject.project.model.target
    known, held = subject.train.get_column(target).drop_nulls(), subject.held
    every = np.arange(subject.test.height)
    if than == "last":
        return _last_values(subject)
    if task == "regression":
        # Mean and median of a column of floats without nulls are floats; their types allow for other columns.
        value = float(known.cast(float).mean() if than == "mean" else known.cast(float).median())  # type: ignore[arg-type]
        return every, Answers(prediction=[value] * every.size)
    texts = [label_text(value) for value in known.to_list()]
    classes = held.classes or []
    shares = np.array([texts.count(label_text(value)) for value in classes], dtype=np.float64) / max(
        len(texts), 1
    )
    said = [classes[int(shares.argmax())]] * every.size
    scores: Any = np.tile(shares, (every.size, 1))
    if task == "binary":
        place = [label_text(value) for value in classes].index(label_text(subject.positive))
        scores = np.full(every.size, shares[place])
    return every, Answers(prediction=said, scores=scores, classes=classes)


def _last_values(subject: Subject) -> tuple[NDArray[np.int64], Answers]:
    """The outcome that was known last when each row was asked: of its entity where there is one, else of any row."""
    import polars as pl

    from flyball.data.columns import event_times

    model = subject.project.model
    assert model.time is not None
    delay = parse_duration(subject.project.data.outcome_delay)
    by = [model.entity] if model.entity is not None and model.entity in subject.test.columns else []
    parts = [
        part.select([*by, pl.col(model.target).alias("value")]).with_columns(
            event_times(part, model.time).alias("at")
        )
        for part in (subject.train, subject.test)
    ]
    known = pl.concat(parts, how="vertical_relaxed").with_columns(pl.col("at") + delay).sort("at")
    asked = parts[1].drop("value").with_row_index("row").sort("at")
    found = asked.join_asof(known, on="at", by=by or None, allow_exact_matches=bool(delay)).drop_nulls(
        "value"
    )
    return found.get_column("row").to_numpy().astype(np.int64), Answers(
        prediction=found.get_column("value").to_list(), classes=subject.held.classes
    )


def _from_the_future(frame: pl.DataFrame, subject: Subject) -> tuple[str, str] | None:
    """A feature that all but determines the target of a later row, and what to say about it."""
    import polars as pl

    from flyball.data.leaks import find_leaks

    model = subject.project.model
    if model.time is None or model.time not in frame.columns:
        return None
    has_entity = model.entity is not None and model.entity in frame.columns
    ordered = frame.sort(model.time)
    for shift in range(1, MOST_SHIFTS + 1):
        later = pl.col(model.target).shift(-shift)
        shifted = ordered.with_columns(
            (later.over(model.entity) if has_entity else later).alias(model.target)
        )
        found = find_leaks(shifted.drop_nulls(model.target), subject.features, model.target, model.task)
        if found:
            name = str(found[0].facts["features"][0])
            rows = "row" if shift == 1 else f"{shift}. row"
            return name, (
                f"{name} all but determines {model.target} of the {rows} after its own "
                f"({found[0].facts['strength']:.4g}): it comes from the future"
            )
    return None


def _told_by_one(test: ModelTestSection, subject: Subject) -> Shown:
    project = subject.project
    step = -(-subject.test.height // MOST_ROWS)
    rows = np.arange(0, subject.test.height, max(step, 1))
    part, held = subject.test[rows], take(subject.held, rows)
    if losses_of(held, project) is None:
        return not_shown("the model gives no probabilities, so what a feature tells can't be measured"), []
    _, plain = baseline_answers(subject, "mean" if project.model.task == "regression" else "prior")
    none = Held(
        held.truth, list(plain.prediction[: rows.size]), None if plain.scores is None else plain.scores[: rows.size],
        held.classes, held.positive,
    )  # fmt: skip
    without = losses_of(none, project)
    assert without is not None
    order = np.random.default_rng(project.train.seed).permutation(rows.size)
    shuffled, alone = part[order], {}
    for name in subject.features[:MOST_FEATURES]:
        mixed = shuffled.with_columns(part.get_column(name), part.get_column(project.model.target))
        answers = subject.ask_twin(mixed.select(subject.features))
        one = losses_of(
            held_answers(answers, subject.predictor.classes, mixed, project, subject.positive), project
        )
        assert one is not None
        alone[name] = one
    groups = None if subject.groups is None else subject.groups[rows]
    share = MOST_TOLD if test.max_share is None else test.max_share
    found = none_tells_all(without, alone, seed=project.train.seed, max_share=share, groups=groups)
    examples = []
    for row in found.worst:
        one_row = part.select(subject.features).row(row, named=True)
        examples.append(subject.example(one_row, answer=held.prediction[row], outcome=held.truth[row]))
    return found, examples


def _leaking_rows(subject: Subject, names: list[str]) -> list[dict[str, Any]]:
    target = subject.project.model.target
    some = subject.test.head(10)
    return [
        subject.example({name: row[name] for name in names}, outcome=row[target]) for row in some.to_dicts()
    ]
