"""Rows to learn from: columns checked against the project file, the target usable, the features chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyball.core.errors import BadInput, SourceUnreadable
from flyball.core.project import DataSection, ModelSection
from flyball.data.columns import check_columns, event_times
from flyball.data.content import canonical_frame
from flyball.data.findings import Finding, rows_in_words
from flyball.data.targets import Label, check_target

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rows", "choose_features", "event_times", "prepare_rows"]

_ENOUGH_FOR_AN_IDENTIFIER = 100
# Pages, contracts and checks per feature are made for people; a wider table is for a learner of its own.
MOST_FEATURES = 5_000


class Rows:
    """Rows with a target, ready to be split.

    `features` in the order of the data (or of [data].features). `times`: event times of the rows in UTC, None
    without [model].time. `classes` of a classification in order, as they stand in the data; `positive` one of them.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        features: list[str],
        times: pl.Series | None,
        classes: list[Label] | None,
        positive: Label | None,
        findings: list[Finding],
    ) -> None:
        self.frame = frame
        self.features = features
        self.times = times
        self.classes = classes
        self.positive = positive
        self.findings = findings


def prepare_rows(frame: pl.DataFrame, model: ModelSection, data: DataSection) -> Rows:
    """The rows of a source as training and evaluation see them.

    Rows without target are left out; NaN in features becomes null, as a request would carry it. Rows keep their
    order. Raises UnknownColumn, UnusableTarget, SourceUnreadable.
    """
    import polars as pl

    frame = canonical_frame(frame)
    check_columns([model.target], frame.columns, "[model].target")
    features = choose_features(frame.columns, model, data)
    findings: list[Finding] = []
    missing = int(frame[model.target].null_count())
    if missing == frame.height:
        raise SourceUnreadable(
            f"column {model.target!r}, the target, is empty in every row", column=model.target
        )
    if missing:
        findings.append(
            Finding(
                kind="unlabelled",
                sentence=f"{rows_in_words(missing, frame.height)} have no {model.target} and are left out",
                facts={"rows": missing, "of": frame.height},
            )
        )
        frame = frame.filter(pl.col(model.target).is_not_null())
    target, classes, positive = check_target(frame[model.target], model)
    frame = _without_nan(frame.with_columns(target), features, findings)
    findings += _look_at(frame, features)
    times = event_times(frame, model.time) if model.time else None
    return Rows(frame, features, times, classes, positive, findings)


def choose_features(columns: list[str], model: ModelSection, data: DataSection) -> list[str]:
    """The columns that are features: those of [data].features, or all that have no other part to play.

    Raises UnknownColumn for names the data do not have, BadInput when the target is among them or none is left.
    """
    check_columns([name for name in (model.entity,) if name], columns, "[model].entity")
    check_columns([name for name in (model.time,) if name], columns, "[model].time")
    check_columns(data.features, columns, "[data].features")
    check_columns(data.exclude, columns, "[data].exclude")
    check_columns(data.protected, columns, "[data].protected")
    if model.target in data.features:
        raise BadInput(
            f"[data].features lists {model.target!r}, which is the target; a model can't be given what it is to "
            "predict",
            column=model.target,
        )
    others = {model.target, model.entity, model.time, *data.exclude, *data.protected}
    chosen = list(data.features) or [name for name in columns if name not in others]
    if not chosen:
        raise BadInput(
            "no column is left to be a feature: every one is target, entity, time, excluded or protected; "
            "name some in [data].features"
        )
    if len(chosen) > MOST_FEATURES:
        raise BadInput(
            f"{len(chosen):,} columns would be features, and {MOST_FEATURES:,} is the most; name those that matter in "
            "[data].features, or leave others out with [data].exclude",
            features=len(chosen),
            most=MOST_FEATURES,
        )
    return chosen


def _without_nan(frame: pl.DataFrame, features: list[str], findings: list[Finding]) -> pl.DataFrame:
    import polars as pl

    floats = [name for name in features if frame[name].dtype.is_float()]
    for name in floats:
        count = int(frame[name].is_nan().sum())
        if count:
            findings.append(
                Finding(
                    kind="not_a_number",
                    sentence=f"{rows_in_words(count, frame.height)} have NaN as {name}; it is read as missing",
                    facts={"feature": name, "rows": count},
                )
            )
        endless = int(frame[name].is_infinite().sum())
        if endless:
            findings.append(
                Finding(
                    kind="infinite",
                    sentence=f"{rows_in_words(endless, frame.height)} have an infinite {name}; no request can carry "
                    "one, and each breaks the contract",
                    facts={"feature": name, "rows": endless},
                )
            )
    return frame.with_columns(pl.col(floats).fill_nan(None)) if floats else frame


def _look_at(frame: pl.DataFrame, features: list[str]) -> list[Finding]:
    findings = []
    for name in features:
        series = frame[name]
        distinct = int(series.n_unique()) - (1 if series.null_count() else 0)
        if distinct == 0:
            findings.append(_about(name, "empty_feature", f"{name} is empty in every row; exclude it"))
        elif distinct == 1 and frame.height > 1 and not series.null_count():
            findings.append(
                _about(
                    name, "constant_feature", f"{name} is {series[0]!r} in every row and can't help a model"
                )
            )
        elif (
            distinct == frame.height >= _ENOUGH_FOR_AN_IDENTIFIER
            and not series.dtype.is_float()
            and not series.dtype.is_temporal()
        ):
            findings.append(
                _about(
                    name,
                    "identifier",
                    f"{name} is different in every row: an identifier, or a count of the rows? Put it into "
                    "[data].exclude if a new row's value says nothing",
                )
            )
    return findings


def _about(feature: str, kind: str, sentence: str) -> Finding:
    return Finding(kind=kind, sentence=sentence, facts={"feature": feature})
