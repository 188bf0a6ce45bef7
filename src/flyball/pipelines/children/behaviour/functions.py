"""Child `functions`: the project's own functions `test_…` about its model, called with what their parameters name.

It has no stores and no credentials.
"""

from __future__ import annotations

import importlib
import inspect
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.contract import Contract
from flyball.core.errors import UserCodeFailed
from flyball.core.project import Project
from flyball.pipelines.children.asking import ask_package
from flyball.pipelines.hidden import hidden_columns, without_values
from flyball.pipelines.user_code import call_by_name, enter_source, told
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.frames import Kind, as_kind, from_user
from flyball.registry.formats.loading import load_predictor

if TYPE_CHECKING:
    import polars as pl


class FunctionsTask(msgspec.Struct, frozen=True, kw_only=True):
    """What `functions` is asked: a project with its files, the files with tests, a sealed package, files with rows.

    current: the file in which the running function is noted, for whoever ends one that hangs.
    """

    project: Project
    contract: Contract
    positive: Any
    package: str
    train: str
    test: str
    source: str
    files: list[str]
    current: str

    def told(self, message: str) -> str:
        """What a function said, without values that the log drops or hashes."""
        import polars as pl

        hidden = hidden_columns(self.project.log)
        if not hidden:
            return message
        return without_values(message, (pl.read_parquet(path) for path in (self.test, self.train)), hidden)


def run_functions(payload: dict[str, Any]) -> dict[str, Any]:
    """A result per function, in the order of files and lines."""
    task = msgspec.convert({name: payload[name] for name in FunctionsTask.__struct_fields__}, FunctionsTask)
    source = Path(task.source).resolve()
    enter_source(source)
    available = _available(task)
    results = []
    for path in task.files:
        try:
            functions = _functions_of(path, source)
        except UserCodeFailed as error:
            results.append(_result(Path(path).stem, path, None, "broken", error.message, 0.0))
            continue
        results += [_call(function, path, source, available, task) for function in functions]
    return {"tests": results}


def _functions_of(path: str, source: Path) -> list[FunctionType]:
    """The functions `test_…` that a file defines itself, in the order of their lines."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise told(error, source, f"importing {path}") from error
    found = [
        value
        for key, value in vars(module).items()
        if key.startswith("test_") and isinstance(value, FunctionType) and value.__module__ == module.__name__
    ]
    return sorted(found, key=lambda function: function.__code__.co_firstlineno)


def _call(
    function: FunctionType,
    path: str,
    source: Path,
    available: dict[str, Callable[[], Any]],
    task: FunctionsTask,
) -> dict[str, Any]:
    line, name = function.__code__.co_firstlineno, function.__name__
    Path(task.current).write_bytes(msgspec.json.encode({"name": name, "file": path, "line": line}))
    began = time.perf_counter()
    try:
        call_by_name(function, available, source, f"{path}:{line} {name}")
    except UserCodeFailed as error:
        cause = error.__cause__
        seconds = time.perf_counter() - began
        if isinstance(cause, AssertionError):
            at, words = _failed_at(cause, source / path)
            return _result(name, path, at or line, "fail", task.told(words), seconds)
        # An error that is no assertion says nothing about the model's behaviour, but what it should show is not shown.
        return _result(name, path, line, "broken", task.told(error.message), seconds)
    because = (inspect.getdoc(function) or "it held").splitlines()[0]
    return _result(name, path, line, "pass", because, time.perf_counter() - began)


def _failed_at(error: AssertionError, file: Path) -> tuple[int | None, str]:
    """The line of the file where an assertion failed, and what it said: its message or else its own text."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    if not frames:
        return None, str(error)[:1000] or "an assertion failed"
    line = (frames[-1].line or "").strip()
    return frames[-1].lineno, f"{str(error)[:1000]} ({line})" if str(error) else line


def _available(task: FunctionsTask) -> dict[str, Callable[[], Any]]:
    """What functions may ask for; each is made only if one does."""
    import polars as pl

    project = task.project
    kind: Kind = "pandas" if project.train.frames == "pandas" else "polars"
    features = list(task.contract.features)
    ask = _asker(Path(task.package), features)
    place = _place(task)

    def score(rows: Any) -> list[Any]:
        answers = ask(rows)
        if answers.scores is None or place is None:
            return answers.scores if answers.scores is not None else answers.predictions
        return [row[place] for row in answers.scores]

    return {
        "predict": lambda: lambda rows: ask(rows).predictions,
        "score": lambda: score,
        "rows": lambda: as_kind(pl.read_parquet(task.test).select(features), kind),
        "test": lambda: as_kind(pl.read_parquet(task.test), kind),
        "train": lambda: as_kind(pl.read_parquet(task.train), kind),
        "features": lambda: list(features),
        "target": lambda: project.model.target,
        "params": lambda: dict(project.train.params),
        "seed": lambda: project.train.seed,
    }


def _asker(package: Path, features: list[str]) -> Callable[[Any], Answers]:
    """Answers for a frame or a list of rows. A package with code of its own answers in a process of its own."""
    loaded: list[Any] = []

    def ask(rows: Any) -> Answers:
        frame = _frame(rows)
        if read_folder_manifest(package).needs_process:
            return ask_package(package, frame.select(features), measure=False).answers
        if not loaded:
            loaded.append(load_predictor(package, in_model_process=True))
        answers: Answers = loaded[0].predict_frame(frame)
        return answers

    return ask


def _frame(rows: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(rows, dict):
        rows = [rows]
    return (
        pl.DataFrame(rows, infer_schema_length=None) if isinstance(rows, list) else from_user(rows, "predict")
    )


def _place(task: FunctionsTask) -> int | None:
    """The place of the positive class among the scores of a binary model."""
    from flyball.core.records import label_text

    classes = read_folder_manifest(Path(task.package)).signature.classes
    if classes is None or task.project.model.task != "binary":
        return None
    return [label_text(value) for value in classes].index(label_text(task.positive))


def _result(
    name: str, path: str, line: int | None, outcome: str, because: str, seconds: float
) -> dict[str, Any]:
    return {
        "kind": "function",
        "name": name,
        "outcome": outcome,
        "because": because,
        "rows": [],
        "file": path,
        "line": line,
        "seconds": round(seconds, 3),
    }
