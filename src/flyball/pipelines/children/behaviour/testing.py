"""Child `test`: the project's model tests, asked of the packaged model with real held-out rows.

It has no stores and no credentials. It holds one model only, so that one with code of its own is loaded right here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.errors import FlyballError
from flyball.core.project import ModelTestSection, Project
from flyball.pipelines.children.answering import held_answers
from flyball.pipelines.children.asking import ask_saved
from flyball.pipelines.children.behaviour import changing, measured, validity
from flyball.pipelines.children.behaviour.parity import parity
from flyball.pipelines.children.behaviour.results import Shown, result_of
from flyball.pipelines.children.behaviour.subject import Subject
from flyball.pipelines.children.measuring import group_rows
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.saving import Saved

if TYPE_CHECKING:
    import polars as pl

_KINDS: dict[str, Callable[[ModelTestSection, Subject], Shown]] = {
    "answers": validity.answers,
    "invariance": changing.invariance,
    "direction": changing.direction,
    "noise": changing.noise,
    "missing": changing.missing,
    "borders": validity.borders,
    "golden": validity.golden,
    "baseline": measured.baseline,
    "calibration": measured.calibration,
    "leak": measured.leak,
    "metamorphic": changing.metamorphic,
    "parity": parity,
}


class ModelTestTask(msgspec.Struct, frozen=True, kw_only=True):
    """What `test` is asked: a project, a sealed package, files with rows, the twin that is measured in a refit."""

    project: Project
    contract: Contract
    positive: Any
    package: str
    train: str
    test: str
    twin: Saved | None
    twin_folder: str | None
    champion: str | None


def run_model_tests(payload: dict[str, Any]) -> dict[str, Any]:
    """A result per test that asks the package, in their order; one that could not be asked is told as `broken`."""
    task = msgspec.convert({name: payload[name] for name in ModelTestTask.__struct_fields__}, ModelTestTask)
    subject = _open(task)
    return {"tests": [_run(test, subject) for test in task.project.tests if test.kind in _KINDS]}


def _open(task: ModelTestTask) -> Subject:
    import polars as pl

    predictor = load_predictor(Path(task.package), in_model_process=True)
    train, test = pl.read_parquet(task.train), pl.read_parquet(task.test)
    twin = _twin(task)
    rows = test.select(list(task.contract.features))
    answers = predictor.predict_frame(rows) if twin is None else twin(rows)
    return Subject(
        project=task.project,
        package=Path(task.package),
        predictor=predictor,
        contract=task.contract,
        train=train,
        test=test,
        held=held_answers(answers, predictor.classes, test, task.project, task.positive),
        groups=group_rows(test, task.project),
        positive=task.positive,
        champion=None if task.champion is None else Path(task.champion),
        twin=twin,
    )


def _twin(task: ModelTestTask) -> Callable[[pl.DataFrame], Answers] | None:
    if task.twin is None or task.twin_folder is None:
        return None
    folder, saved, name = Path(task.twin_folder), task.twin, task.project.model.task
    return lambda frame: ask_saved(folder, saved, frame, name)


def _run(test: ModelTestSection, subject: Subject) -> dict[str, Any]:
    began = time.perf_counter()
    outcome: str
    try:
        found, rows = _KINDS[test.kind](test, subject)
        outcome, because = found.verdict.outcome, found.verdict.because
    except FlyballError as error:
        # The model gave an answer that can't be used, or the test is about what there is not.
        outcome, because, rows = "fail" if error.code == "bad_answer" else "broken", subject.told(error), []
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the model's own code and its library may raise anything
        outcome, because, rows = "fail", f"the model raised {type(error).__name__}: {subject.told(error)}", []
    return result_of(test, outcome, because, rows, began)
