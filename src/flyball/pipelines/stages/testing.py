"""Model tests of a run: those declared in the project file, and the project's own functions `test_…`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.local import read_written
from flyball.core.durations import parse_duration
from flyball.core.errors import ProjectError, RunTimedOut
from flyball.pipelines.calls import ChildLimits, call_child
from flyball.pipelines.model_test_rules import TRAINING_KINDS, feature_problems
from flyball.pipelines.positions import dotted, find_lines
from flyball.pipelines.project_file import FILE_NAME
from flyball.pipelines.source_tree import read_tree
from flyball.pipelines.stages.evaluate import champion_of
from flyball.pipelines.stages.job import Given, Job, Made, look_up, step_key
from flyball.pipelines.stages.prepare import ready_data
from flyball.pipelines.stages.source import ready_source
from flyball.pipelines.stages.train import ready_model, training_limits, training_payload
from flyball.registry.bundle import fetch

# A function that hangs is ended; what is slower than this belongs into a test of its own outside of runs.
FUNCTIONS_TIMEOUT = timedelta(minutes=10)
CURRENT = "current-test.txt"
MOST_SEEDS = 5


def has_tests(job: Job, given: Given) -> bool:
    """Whether there is anything to test; a run recorded by an earlier release knows of no files."""
    return bool(job.project.tests or given.source.get("test_files"))


def check_features(job: Job, given: Given) -> None:
    """Raises ProjectError for tests about features that the data don't have, before anything is trained."""
    if not job.project.tests or any(step.at == "train" for step in job.project.steps):
        return  # a step before training makes other columns, which are known only then
    lines = {dotted(path): line for path, line in _lines(job).items()}
    problems = feature_problems(job.project.tests, given.prepared["features"], FILE_NAME, lines)
    if problems:
        raise ProjectError("\n".join(str(problem["message"]) for problem in problems[:12]), problems)


def test_version(job: Job, given: Given) -> Made:
    """A result per test; from an earlier run where model, rows and tests are the same."""
    key = _key(job, given)
    outputs = look_up(job, key)
    is_cached = outputs is not None
    if outputs is None:
        ready_data(job, given.prepared)
        payload = _payload(job, given)
        asked = iter(_declared(job, payload))
        training = iter(_training(job, given))
        declared = [next(training if test.kind in TRAINING_KINDS else asked) for test in job.project.tests]
        outputs = {"tests": [*declared, *_functions(job, given, payload)]}
    lines = _lines(job)
    for number, test in enumerate(outputs["tests"][: len(job.project.tests)]):
        # Looked up each time: a comment above a test moves its line and changes nothing else.
        test.update(file=FILE_NAME, line=lines.get(("tests", number)))
    for test in outputs["tests"]:
        if not is_cached:
            job.bench.write_line(f"test {test['name']}: {test['outcome']} ({test['because']})")
    return Made(outputs, _facts(outputs["tests"]), key, is_cached=is_cached)


def _key(job: Job, given: Given) -> str:
    project, files = job.project, given.source.get("test_files")
    return step_key(
        "test",
        bundle=given.evaluated["bundle"],
        files=[[file["path"], file["digest"]] for file in given.trained["files"]],
        test=given.prepared["digests"]["test"],
        train=given.prepared["digests"]["train"],
        tests=project.tests,
        model=project.model,
        decision=project.decision,
        delay=project.data.outcome_delay,
        window=project.monitor.window,
        hidden=[project.log.drop, project.log.hash],
        seed=project.train.seed,
        champion=given.source["champion"] if any(test.kind == "golden" for test in project.tests) else None,
        functions=[
            given.source["tree"],
            given.environment["digest"],
            project.train.params,
            project.train.frames,
        ]
        if files
        else None,
        training=[
            given.source["code"],
            given.environment["digest"],
            project.train,
            project.steps,
            given.prepared["digests"],
        ]
        if any(test.kind in TRAINING_KINDS for test in project.tests)
        else None,
    )


def _payload(job: Job, given: Given) -> dict[str, Any]:
    """What both children are told: the package, fetched and verified, and the rows as requests have them."""
    made = ready_model(job, given.trained)
    package = fetch(given.evaluated["bundle"], job.shop.blobs, job.shop.settings.cache_folder)
    train = job.bench.path("data") / "train.parquet"
    test = job.bench.path("held_out") / "test.parquet"
    if given.trained["has_frames"]:
        train, test = made / "train.parquet", made / "test.parquet"
    champion = champion_of(job, given.source)
    return {
        "project": msgspec.to_builtins(job.project),
        "contract": given.trained["contract"],
        "positive": given.prepared["positive"],
        "package": str(package),
        "train": str(train),
        "test": str(test),
        "twin": given.trained["twin"],
        "twin_folder": None if given.trained["twin"] is None else str(made / "evaluated"),
        "champion": None if champion is None else champion["folder"],
    }


def _declared(job: Job, payload: dict[str, Any]) -> list[dict[str, Any]]:
    if all(test.kind in TRAINING_KINDS for test in job.project.tests):
        return []
    environment = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": str(job.project.train.threads)}
    limits = ChildLimits(memory_mb=None, environment=environment)
    results: list[dict[str, Any]] = call_child(
        job.shop, job.run_id, "test", payload, job.bench.folder, limits
    )["tests"]
    return results


def _training(job: Job, given: Given) -> list[dict[str, Any]]:
    """Tests that train again, with the limits of a training for each training."""
    tests = [test for test in job.project.tests if test.kind in TRAINING_KINDS]
    if not tests:
        return []
    payload = training_payload(job, given, job.bench.fresh("tested"))
    trainings = 2 * len(tests) + sum(test.seeds or MOST_SEEDS for test in tests if test.kind == "seeds")
    limits = training_limits(job, parse_duration(job.project.train.timeout) * trainings)
    plain = {**payload, "tests": msgspec.to_builtins(tests)}
    results: list[dict[str, Any]] = call_child(
        job.shop, job.run_id, "train-tests", plain, job.bench.folder, limits
    )["tests"]
    return results


def _functions(job: Job, given: Given, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The project's own functions, in a child without credentials; one that hangs is a failure, not a broken run."""
    files = given.source.get("test_files")
    if not files:
        return []
    current = job.bench.fresh("functions") / CURRENT
    timeout = min(FUNCTIONS_TIMEOUT, parse_duration(job.project.train.timeout))
    limits = ChildLimits(timeout=timeout, memory_mb=job.project.train.memory_mb)
    told = {**payload, "source": ready_source(job), "files": files, "current": str(current)}
    try:
        results: list[dict[str, Any]] = call_child(
            job.shop, job.run_id, "functions", told, job.bench.folder, limits
        )["tests"]
    except RunTimedOut as error:
        where = _where(current)
        because = f"{where.name} had not ended after {error.facts.get('timeout')}; the functions after it were not run"
        hung = {"kind": "function", "name": where.name, "outcome": "fail", "because": because, "rows": []}
        return [{**hung, "file": where.file, "line": where.line, "seconds": timeout.total_seconds()}]
    return results


class _Where(msgspec.Struct):
    """The function that was running."""

    name: str = "model_tests"
    file: str | None = None
    line: int | None = None


def _where(current: Path) -> _Where:
    """What the child said last; the file may have been written by the project's code, too."""
    try:
        return msgspec.convert(read_written(current) or {}, _Where)
    except msgspec.ValidationError:
        return _Where()


def _lines(job: Job) -> dict[tuple[str | int, ...], int]:
    """Where each key of the run's own project file stands; nothing for a tree without one."""
    assert job.request.tree is not None
    tree = read_tree(job.request.tree, job.shop.blobs)
    content = next((file.content for file in tree.files if Path(file.path) == Path(FILE_NAME)), b"")
    return find_lines(content.decode("utf-8-sig", errors="replace"))


def _facts(tests: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes = [test["outcome"] for test in tests]
    return {"tests": f"{outcomes.count('pass')} of {len(outcomes)} passed"}
