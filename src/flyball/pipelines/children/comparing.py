"""Candidate and champion on the same held-out rows, on which neither was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from flyball.core.errors import BadInput, NotEnoughEvidence
from flyball.core.project import Project
from flyball.pipelines.children.answering import Held, held_answers
from flyball.pipelines.children.asking import ask_package
from flyball.pipelines.children.measuring import take
from flyball.pipelines.seen_rows import rows_that_count

if TYPE_CHECKING:
    import polars as pl

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
    import numpy as np

    from flyball.judge.metrics.table import default_loss
    from flyball.registry.bundle import read_folder_manifest

    if champion is None:
        return None, None
    manifest = read_folder_manifest(Path(champion.folder), champion.digest)
    names = [feature.name for feature in manifest.signature.features]
    if missing := [name for name in names if name not in test.columns]:
        because = f"the rows lack {', '.join(missing[:5])}, which version {champion.number} takes"
        return Comparison(champion=champion.number, because=because), None
    time = project.model.time
    fresh = rows_that_count(test, seen=champion.seen, trained_until=champion.trained_until, time=time)
    if fresh is None:
        because = (
            f"it can't be told which rows version {champion.number} was trained on: its columns are others"
        )
        return Comparison(champion=champion.number, because=because), None
    rows = np.flatnonzero(fresh)
    found = Comparison(champion=champion.number, rows=len(rows), left_out=test.height - len(rows))
    if len(rows) < LEAST_ROWS:
        because = f"{len(rows)} held-out rows were seen by neither model; {LEAST_ROWS} are needed"
        return structs.replace(found, because=because), None
    part = test[rows]
    answers = ask_package(Path(champion.folder), part.select(names), measure=False).answers
    pairing = Pairing(
        champion=held_answers(answers, manifest.signature.classes, part, project, held.positive),
        candidate=take(held, rows),
        groups=None if groups is None else groups[rows],
        project=project,
    )
    loss = pairing.paired(default_loss(project.model.task), 0.95)
    return structs.replace(found, loss=None if loss is None else msgspec.to_builtins(loss)), pairing
