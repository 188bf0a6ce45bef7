"""Child `contrast`: a new package beside others on held-out rows that none of the two was trained on, for people.

It judges nothing: gates do. It has no stores and no credentials; all is read from files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.project import Project
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.asking import ask_package
from flyball.pipelines.children.comparing import LEAST_ROWS, Pairing
from flyball.pipelines.children.measuring import (
    LEAST_SLICE_ROWS,
    group_rows,
    losses_of,
    slice_columns,
    slice_rows,
    take,
)
from flyball.pipelines.hidden import hidden_columns, shown_row
from flyball.pipelines.seen_rows import rows_that_count

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.judge.metrics.measure import Paired
    from flyball.registry.formats.answers import Answers

MOST_CHANGED = 10
MOST_FEATURES = 60
IMPORTANCE_ROWS = 1000


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """A package: its fetched bundle, and what it was trained on (a file with keys of rows, and until when)."""

    name: str
    folder: str
    digest: str
    seen: str | None
    trained_until: str | None


class ContrastTask(msgspec.Struct, frozen=True, kw_only=True):
    """The project whose metrics count, a file with held-out rows, the new package, and what it is compared with.

    beside: file with further columns of these rows, which only the others take.
    """

    project: Project
    positive: Any
    test: str
    now: Contestant
    others: list[Contestant]
    beside: str | None = None


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    held: Held
    features: list[str]
    unseen: Any


def contrast(payload: dict[str, Any]) -> dict[str, Any]:
    """Per name what differs from it, and the importances of all, by name ("now" is the new package)."""
    import polars as pl

    names = ContrastTask.__struct_fields__
    task = msgspec.convert({name: payload[name] for name in names}, ContrastTask)
    test, project = pl.read_parquet(task.test), task.project
    if task.beside is not None:
        test = test.hstack(pl.read_parquet(task.beside))
    now = _ask(task.now, test, task)
    assert isinstance(now, _Asked)
    found: dict[str, dict[str, Any]] = {}
    importances = {"now": _importances(task.now, now, test, task)}
    done: dict[tuple[str, str | None, str | None], str] = {}
    for other in task.others:
        # Champion and base are often one package: what is drawn again and again is drawn once.
        same = done.get((other.digest, other.seen, other.trained_until))
        if same is not None:
            found[other.name], importances[other.name] = found[same], importances[same]
            continue
        old = _ask(other, test, task)
        if isinstance(old, str):
            found[other.name] = {"rows": 0, "left_out": 0, "because": old}
            continue
        found[other.name] = _contrast(now, old, test, project)
        importances[other.name] = _importances(other, old, test, task)
        done[other.digest, other.seen, other.trained_until] = other.name
    return {"others": found, "importances": importances}


def _ask(contestant: Contestant, test: pl.DataFrame, task: ContrastTask) -> _Asked | str:
    """The answers of a package on all held-out rows, or why there are none."""
    from flyball.registry.bundle import read_folder_manifest

    folder = Path(contestant.folder)
    manifest = read_folder_manifest(folder, contestant.digest)
    names = [feature.name for feature in manifest.signature.features]
    if missing := [name for name in names if name not in test.columns]:
        return f"the rows lack {', '.join(missing[:5])}, which the {contestant.name} takes"
    time = task.project.model.time
    unseen = rows_that_count(test, seen=contestant.seen, trained_until=contestant.trained_until, time=time)
    if unseen is None:
        return f"it can't be told which rows the {contestant.name} was trained on: its columns are others"
    answers = ask_package(folder, test.select(names), measure=False).answers
    held = held_answers(answers, manifest.signature.classes, test, task.project, task.positive)
    return _Asked(held=held, features=names, unseen=unseen)


def _contrast(now: _Asked, old: _Asked, test: pl.DataFrame, project: Project) -> dict[str, Any]:
    import numpy as np

    rows = np.flatnonzero(now.unseen & old.unseen)
    facts: dict[str, Any] = {"rows": len(rows), "left_out": test.height - len(rows), "because": None}
    if len(rows) < LEAST_ROWS:
        facts["because"] = f"{len(rows)} held-out rows were seen by neither model; {LEAST_ROWS} are needed"
        return facts
    part, new_held, old_held = test[rows], take(now.held, rows), take(old.held, rows)
    pairs = dict(_pairs(part, new_held, old_held, project, slice_columns(part, project, now.features)))
    return {
        **facts,
        "differences": _labelled(pairs),
        "changed": _changed(part, new_held, old_held, now.features, hidden_columns(project.log)),
    }


def _pairs(
    part: pl.DataFrame, now: Held, old: Held, project: Project, columns: list[str]
) -> Iterator[tuple[tuple[str, str, str], Paired]]:
    """Paired differences by metric, column and level; over all rows, column and level are empty.

    Means and AUC of all rows, which cost milliseconds; a metric that must be drawn again and again where a gate names
    it. In slices the task's loss.
    """
    from flyball.judge.metrics.table import METRICS, default_loss

    loss, groups = default_loss(project.model.task), group_rows(part, project)
    asked = {gate.metric for gate in project.gates}
    pairing = Pairing(champion=old, candidate=now, groups=groups, project=project)
    for name, metric in METRICS.items():
        if project.model.task in metric.tasks and (metric.is_row_mean or name == "roc_auc" or name in asked):
            paired = pairing.paired(name, 0.95)
            if paired is not None:
                yield (name, "", ""), paired
    for column in columns:
        for level, rows in slice_rows(part, column).items():
            if len(rows) < LEAST_SLICE_ROWS:
                continue
            few = Pairing(
                champion=take(old, rows),
                candidate=take(now, rows),
                groups=None if groups is None else groups[rows],
                project=project,
            )
            paired = few.paired(loss, 0.95)
            if paired is not None:
                yield (loss, column, level), paired


def _labelled(pairs: dict[tuple[str, str, str], Paired]) -> list[dict[str, Any]]:
    """Each difference with what may be said of it: over all rows one by one, slices corrected for their number."""
    from flyball.judge.gates.labels import label, labels_of_many

    slices = labels_of_many({"\0".join(key): pair for key, pair in pairs.items() if key[1]})
    return [
        {
            "metric": key[0],
            "column": key[1],
            "level": key[2],
            "before": pairs[key].champion,
            "now": pairs[key].candidate,
            "estimate": pairs[key].estimate,
            "interval": msgspec.to_builtins(pairs[key].difference),
            "rows": pairs[key].row_count,
            "label": slices["\0".join(key)] if key[1] else label(pairs[key]),
        }
        for key in pairs
    ]


def _changed(
    part: pl.DataFrame, now: Held, old: Held, features: list[str], hidden: Collection[str]
) -> list[dict[str, Any]]:
    """The rows whose answer changed most: by the number that is watched or, of classes, those that are others.

    Values of hidden columns are not shown.
    """
    before, after = old.watched(), now.watched()
    distances = [
        abs(b - a) if isinstance(a, float) and isinstance(b, float) else float(a != b)
        for a, b in zip(after, before, strict=True)
    ]
    order = sorted(range(len(distances)), key=lambda row: -distances[row])[:MOST_CHANGED]
    columns = [name for name in features if name in part.columns]
    rows = [row for row in order if distances[row] > 0]
    shown = part[rows].select(columns).to_dicts() if rows else []
    return [
        {
            "row": shown_row(values, hidden),
            "before": before[row],
            "after": after[row],
            "outcome": now.truth[row],
        }
        for row, values in zip(rows, shown, strict=True)
    ]


def _importances(
    contestant: Contestant, asked: _Asked, test: pl.DataFrame, task: ContrastTask
) -> dict[str, float]:
    """Permutation importances on at most 1,000 rows; none of a model without probabilities or with many features."""
    from flyball.pipelines.children.importance import permutation_importance

    if len(asked.features) > MOST_FEATURES or losses_of(asked.held, task.project) is None:
        return {}

    def predict(rows: pl.DataFrame) -> Answers:
        return ask_package(Path(contestant.folder), rows, measure=False).answers

    def row_losses(rows: pl.DataFrame, answers: Answers) -> NDArray[np.float64]:
        held = held_answers(answers, asked.held.classes, rows, task.project, task.positive)
        losses = losses_of(held, task.project)
        assert losses is not None
        return losses

    return permutation_importance(
        predict,
        row_losses,
        test,
        asked.features,
        seed=task.project.train.seed,
        most_rows=IMPORTANCE_ROWS,
        repeats=2,
    )
