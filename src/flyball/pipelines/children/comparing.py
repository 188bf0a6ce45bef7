"""Candidate and champion on the same held-out rows, on which neither was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.clock import parse_moment
from flyball.core.errors import BadInput, NotEnoughEvidence
from flyball.core.project import Project
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.asking import ask_package
from flyball.pipelines.children.measuring import take

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.judge.metrics.measure import Paired

LEAST_ROWS = 30


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The version to compare with: its fetched bundle, and a file with the keys of the rows it was trained on."""

    number: int
    folder: str
    digest: str
    seen: str | None
    trained_until: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison rests on: rows that count, and rows left out because the champion was trained on them.

    `loss`: the paired difference in the task's loss, candidate minus champion. `because`: why there is none.
    """

    champion: int
    rows: int = 0
    left_out: int = 0
    because: str | None = None
    loss: Any = None


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of both models on the rows that count."""

    champion: Held
    candidate: Held
    groups: Any
    project: Project

    def paired(self, metric: str, confidence: float) -> Paired | None:
        """The difference in a metric; None where it is undefined on these rows."""
        from flyball.judge.metrics.measure import Answers, paired_difference

        old, new = self.champion, self.candidate
        try:
            return paired_difference(
                self.project.model.task,
                metric,
                new.truth,
                Answers(prediction=old.prediction, scores=old.scores, classes=old.classes),
                Answers(prediction=new.prediction, scores=new.scores, classes=new.classes),
                seed=self.project.train.seed,
                positive=new.positive,
                groups=self.groups,
                confidence=confidence,
            )
        except (NotEnoughEvidence, BadInput):
            return None


def compare(
    champion: Champion | None, test: pl.DataFrame, held: Held, groups: Any, project: Project
) -> tuple[Comparison | None, Pairing | None]:
    """The comparison and, where enough rows are left, what gates are judged on; nothing without a champion."""
    from flyball.judge.metrics.table import default_loss
    from flyball.registry.bundle import read_folder_manifest

    if champion is None:
        return None, None
    rows, because = _rows_that_count(champion, test, project)
    left_out = test.height - len(rows)
    if because is None and len(rows) < LEAST_ROWS:
        because = f"{len(rows)} held-out rows were seen by neither model; {LEAST_ROWS} are needed"
    if because is not None:
        return Comparison(champion=champion.number, rows=len(rows), left_out=left_out, because=because), None
    part, manifest = test[rows], read_folder_manifest(Path(champion.folder), champion.digest)
    names = [feature.name for feature in manifest.signature.features]
    if missing := [name for name in names if name not in part.columns]:
        because = f"the rows lack {', '.join(missing[:5])}, which version {champion.number} takes"
        return Comparison(champion=champion.number, rows=len(rows), left_out=left_out, because=because), None
    answers = ask_package(Path(champion.folder), part.select(names), measure=False).answers
    pairing = Pairing(
        champion=held_answers(answers, manifest.signature.classes, part, project, held.positive),
        candidate=take(held, rows),
        groups=None if groups is None else groups[rows],
        project=project,
    )
    loss = pairing.paired(default_loss(project.model.task), 0.95)
    plain = None if loss is None else msgspec.to_builtins(loss)
    return Comparison(champion=champion.number, rows=len(rows), left_out=left_out, loss=plain), pairing


def _rows_that_count(
    champion: Champion, test: pl.DataFrame, project: Project
) -> tuple[NDArray[np.int64], str | None]:
    """Numbers of the held-out rows that the champion was not trained on, and why none can be told if so.

    By the keys of its rows or, where other columns make a key now, by time: what is later than all it was trained on.
    """
    import numpy as np

    from flyball.data.columns import event_times
    from flyball.pipelines.seen_rows import unseen

    fresh = None if champion.seen is None else unseen(test, Path(champion.seen).read_bytes())
    if fresh is not None:
        return np.flatnonzero(fresh), None
    time = project.model.time
    if champion.trained_until is not None and time is not None and time in test.columns:
        later = event_times(test, time) > parse_moment(champion.trained_until)
        return np.flatnonzero(later.to_numpy()), None
    return np.empty(0, dtype=np.int64), (
        f"it can't be told which rows version {champion.number} was trained on: its columns are others"
    )
