"""Losses of trainings that were made before, kept where runs keep what their steps gave: nothing is trained twice.

A training's key names all that its loss rests on, so a loss that is found is the one that training would give again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from flyball.core.digests import digest_json
from flyball.pipelines.environment import read_environment
from flyball.pipelines.runs import find_cached, keep_cached
from flyball.retraining.folds import TrainedLoss, Training, TrialRows
from flyball.retraining.plan import RetrainPlan

STEP = "trial"
# Raise it when the code gives another loss for the same inputs.
_VERSION = 1


def list_trainings(
    plan: RetrainPlan, rows: TrialRows, *, code: str, champion: str | None
) -> dict[tuple[int, str], Training]:
    """The trainings of a trial by number of the fold and window; those with too few rows are none.

    code: digest of the files that training can see. champion: the bundle that `train` starts from, if it does.
    """
    common = _common_key(plan, rows, code, champion)
    found = {}
    for name in plan.names:
        for number, fold in enumerate(rows.folds):
            train = fold.train[name]
            if train is not None:
                key = digest_json({"step": STEP, "common": common, "train": train, "test": fold.test})
                found[number, name] = Training(key=key, name=name, fold=plan.folds[number])
    return found


def find_losses(conn: Connection, keys: Collection[str]) -> dict[str, float | None]:
    """The losses that are known, by key. What can't be read counts as unknown and is made again."""
    found = {}
    for key in keys:
        try:
            kept = msgspec.convert(find_cached(conn, key), TrainedLoss)
        except msgspec.MsgspecError:
            continue
        if kept.key == key:
            found[key] = kept.loss
    return found


def keep_losses(conn: Connection, losses: list[TrainedLoss], retraining_id: str, now: datetime) -> None:
    """Keep what trainings gave."""
    for loss in losses:
        keep_cached(conn, loss.key, STEP, msgspec.to_builtins(loss), retraining_id, now)


def read_losses(path: Path, keys: Collection[str]) -> list[TrainedLoss]:
    """What a child has written so far, of the trainings it was asked for; a last line that was cut off is left out.

    Of those only: the project's code runs beside it, and must not say what other code gave.
    """
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            loss = msgspec.json.decode(line, type=TrainedLoss)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if loss.key in keys:
            found.append(loss)
    return found


def _common_key(plan: RetrainPlan, rows: TrialRows, code: str, champion: str | None) -> str:
    """What the trainings of a trial have in common, beside their rows."""
    project, train = plan.project, plan.project.train
    return digest_json(
        {
            "version": _VERSION,
            "environment": read_environment().digest,
            "code": code,
            "champion": champion,
            "entry": train.entry,
            "frames": train.frames,
            "params": train.params,
            "seed": train.seed,
            "threads": train.threads,
            "steps": project.steps,
            "model": [project.model.task, project.model.target, project.model.positive],
            "decision": project.decision,
            "contract": plan.contract,
            "classes": plan.classes,
            "positive": plan.positive,
            "whole": rows.whole,
        }
    )
