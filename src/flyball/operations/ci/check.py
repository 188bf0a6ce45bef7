"""`flyball ci`: everything about a change that can be told before it is merged, in one report. Nothing is deployed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from flyball.backends.executors.confine import can_confine
from flyball.backends.executors.network import can_close_network
from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import FlyballError, ProjectError
from flyball.core.settings import Settings, read_settings
from flyball.core.values import Actor
from flyball.governance.actors import local_actor
from flyball.operations.ci.advice import what_to_do
from flyball.operations.ci.checks import below, check_once, faults_of, own_tests_once
from flyball.operations.ci.comparisons import compare_change
from flyball.operations.ci.deployments import find_deciding
from flyball.operations.ci.draft import Check, Draft, Progress
from flyball.operations.ci.findings import (
    gate_annotations,
    gate_reasons,
    outcome_of_error,
    read_tests,
    worst,
)
from flyball.operations.ci.git import GitFacts, read_git
from flyball.operations.ci.places import without_places
from flyball.operations.ci.report import Annotation, CiOutcome, CiReport, ModelTestResult, StageOutcome
from flyball.operations.ci.repository_models import check_name
from flyball.operations.opening import Backends, open_backends
from flyball.operations.runners import is_on_runner
from flyball.operations.running import executing, request_of
from flyball.pipelines.project_file import ProjectFile, find_project_file, read_project
from flyball.pipelines.run import follow_run, start_run
from flyball.pipelines.runs import Run, get_run, list_run_steps
from flyball.pipelines.strangers import is_for_strangers, unprotected, with_own_database


def check_change(folder: Path, *, base: str | None = None, on_line: Progress | None = None) -> CiReport:
    """What is to be said about the change in a project's folder, whatever there is to compare it with.

    base: a branch, tag or commit in place of the base branch. Raises BadInput for a folder without project file, a
    repository that git can't read, two models of one name, and a base that is not there; everything else that goes
    wrong is in the report.
    """
    began = time.monotonic()
    path = find_project_file(folder)
    draft = Draft(
        path=path, git=read_git(path.parent, base, os.environ), on_line=on_line or (lambda line: None)
    )
    draft.end("git", "pass" if draft.git.commit else "skipped", _said_of_git(draft.git), began)
    try:
        file = read_project(path, environment=os.environ)
    except ProjectError as error:
        draft.annotations += faults_of(error, draft.root)
        draft.end("checks", "fail", error.message, time.monotonic())
        return _finish(draft, path.parent.name, began)
    if draft.git.root is not None:
        check_name(draft.git.root, file)
    try:
        with _open(draft) as backends:
            _check(draft, backends, file, local_actor())
    except FlyballError as error:
        outcome = outcome_of_error(error.code)
        draft.end("stores", "broken" if outcome != "fail" else "fail", error.message, time.monotonic())
    return _finish(draft, file.project.model.name, began)


def _said_of_git(git: GitFacts) -> str:
    words = [f"commit {git.commit[:12]}" + (f" on {git.branch}" if git.branch else "")] if git.commit else []
    if git.base is not None:
        words.append(f"base {git.base_name} at {git.base[:12]}")
    return "; ".join([*words, *git.notes])


def _check(draft: Draft, backends: Backends, file: ProjectFile, actor: Actor) -> None:
    """The stages that need stores, until one of them says that the next can't be."""
    if not _check_project(draft, backends, file) or not _run_own_tests(draft, backends, file):
        return
    with executing(backends) as (engine, shop, _):
        check = Check(draft, backends, engine, shop, file, actor)
        run = _run(check)
        if run is None:
            return
        _judge(draft, run, file)
        compare_change(check, run)
        _tell_registration(draft, run)


def _check_project(draft: Draft, backends: Backends, file: ProjectFile) -> bool:
    began, path = time.monotonic(), below(file.path, draft.root)
    found = check_once(backends, file)
    for item in found.not_acted_on:
        message = f"{item['key']} is not acted on yet: {item['because']}"
        line = max(int(item["line"]), 1)
        draft.annotations.append(
            Annotation(path=path, line=line, level="note", rule="not-acted-on", message=message)
        )
    for sentence in found.warnings:
        draft.warn(sentence)
        line = file.lines.get("data", 1)
        draft.annotations.append(
            Annotation(path=path, line=line, level="warning", rule="data", message=sentence)
        )
    for problem in found.problems:
        line, message = _placed(problem, file)
        draft.annotations.append(
            Annotation(path=path, line=line, level="error", rule="check", message=message)
        )
    if found.problems:
        draft.end("checks", "fail", found.problems, began)
        return False
    draft.end("checks", "pass", "project file, entries, data and contract are in order", began, found.cached)
    return True


def _placed(problem: str, file: ProjectFile) -> tuple[int, str]:
    """The line of the project file that a problem names itself, else that of the section it is about; and its words."""
    line, _, message = problem.removeprefix(f"{file.path}:").partition(": ")
    if line.isdecimal():
        return int(line), message
    return file.lines.get("train.entry" if "entry" in problem else "data", 1), problem


def _run_own_tests(draft: Draft, backends: Backends, file: ProjectFile) -> bool:
    """False, and nothing is trained, if the project's own tests say that its code is not in order."""
    began = time.monotonic()
    results, cached = own_tests_once(backends, file, draft.git)
    if not results:
        return True
    outcome = _tell_tests(draft, "own tests", results, file, began, cached)
    return outcome in ("pass", "skipped")


def _tell_tests(
    draft: Draft, name: str, results: list[ModelTestResult], file: ProjectFile, began: float, cached: bool
) -> StageOutcome:
    """Add results to the report, each that is not passed at its line, and end their stage."""
    draft.facts["tests"] = [*draft.facts.get("tests", []), *results]
    bad = [test for test in results if test.outcome not in ("pass", "skipped")]
    for test in bad:
        if test.file is not None:
            draft.annotations.append(
                Annotation(
                    path=below(file.folder / test.file, draft.root),
                    line=test.line or 1,
                    level="warning" if test.outcome == "inconclusive" else "error",
                    rule=f"test/{test.kind}",
                    message=f"{test.name}: {test.because}",
                )
            )
    passed = sum(test.outcome == "pass" for test in results)
    outcome: StageOutcome = worst([test.outcome for test in results])
    reasons = [f"{test.name}: {test.because}" for test in bad if test.outcome == outcome]
    if not bad:
        reasons = [f"{passed} of {len(results)} {name} passed"]
    if not bad and not passed:
        outcome, reasons = "skipped", [results[0].because]
    draft.end(name, outcome, reasons, began, cached)
    return outcome


def _run(check: Check) -> Run | None:
    """The finished run of the change; None, and the stage says why, if it came to no model."""
    began, draft, shop = time.monotonic(), check.draft, check.shop

    def hear(line: str) -> None:
        if line.startswith("warning: "):
            draft.warn(line.removeprefix("warning: "))
        draft.on_line(line)

    why = f"a check of {draft.git.commit[:12]}" if draft.git.commit else "a check of a folder"
    run_id = start_run(check.engine, shop, request_of(check.file, why=why, actor=check.actor))
    ended = follow_run(shop, run_id, on_line=hear, engine=check.engine)
    with shop.database.read() as conn:
        run = get_run(conn, run_id)
        steps = list_run_steps(conn, run_id)
    trained = any(step.name == "train" and step.state == "done" and not step.cached for step in steps)
    draft.facts.update(run_id=run_id, trained=trained)
    for warning in ended.warnings:
        draft.warn(warning)
    if run.result is None:
        error = run.error or {"code": "workflow_cancelled", "message": "the run was cancelled"}
        draft.end("run", outcome_of_error(error["code"]), error["message"], began)
        return None
    said = (
        "the model was trained"
        if trained
        else "nothing was trained: this model was made before, of the same code, rows, parameters and packages"
    )
    draft.end("run", "pass", said, began, cached=not trained)
    return run


def _judge(draft: Draft, run: Run, file: ProjectFile) -> None:
    began, result = time.monotonic(), run.result or {}
    draft.facts.update(digest=result["digest"], gates=result["gates"])
    if tests := read_tests(result):
        _tell_tests(draft, "model tests", tests, file, began, cached=not draft.facts["trained"])
    outcome, reasons = gate_reasons(result["gates"])
    draft.annotations += gate_annotations(result["gates"], file, below(file.path, draft.root))
    draft.end("gates", outcome, reasons, began)


def _tell_registration(draft: Draft, run: Run) -> None:
    began, name = time.monotonic(), f"{run.model}@{run.version}"
    if not draft.is_kept:
        draft.end("registration", "skipped", "nothing was kept: the home can't be written", began)
        return
    if run.state != "registered":
        draft.end("registration", "skipped", f"kept as refused: {name}", began)
        return
    draft.facts.update(version=run.version, registered=not run.cached)
    said = f"{name} stands already" if run.cached else f"registered as {name}; nothing is deployed"
    draft.end("registration", "pass", said, began, cached=run.cached)


def _finish(draft: Draft, model: str, began: float) -> CiReport:
    outcome: CiOutcome = worst([stage.outcome for stage in draft.stages])
    told = ("gates", "model tests", "comparison", "registration")
    passed = [
        stage.because
        for stage in draft.stages
        if stage.name in told or (stage.name == "run" and stage.cached)
    ]
    report = CiReport(
        model=model,
        outcome=outcome,
        because=draft.because or passed,
        what_to_do="",
        commit=draft.git.commit,
        branch=draft.git.branch,
        stages=draft.stages,
        warnings=[*draft.git.notes, *draft.warnings],
        annotations=draft.annotations,
        seconds=round(time.monotonic() - began, 3),
        **draft.facts,
    )
    is_shared = os.environ.get("FLYBALL_DATABASE") and os.environ.get("FLYBALL_CACHE") != "read"
    goes_with_job = is_on_runner(os.environ) and not is_shared
    advice = what_to_do(report, goes_with_job=goes_with_job, files=_deciding(draft, model))
    report = msgspec.structs.replace(report, what_to_do=advice)
    return without_places(report, draft.root, _home(draft.path.parent))


def _deciding(draft: Draft, model: str) -> list[str]:
    """The deployments files that name the model; none where one can't be read, which the job that plans them tells."""
    if draft.git.root is None:
        return []
    try:
        return sorted({asked.file for asked in find_deciding(draft.git.root, model).values()})
    except FlyballError:
        return []


def _home(folder: Path) -> Path:
    try:
        return read_settings(folder).home
    except FlyballError:  # told as what the check stopped at
        return folder


@contextmanager
def _open(draft: Draft) -> Iterator[Backends]:
    """The stores of the project's home or, where nothing may be written there, of one that goes with the check."""
    settings = read_settings(draft.path.parent)
    able = {"confines": can_confine(), "closes_network": can_close_network()}
    if (warning := unprotected(settings, **able)) is not None:
        draft.warn(warning)
    if settings != (own := with_own_database(settings)):
        draft.warn(
            "FLYBALL_DATABASE is not used: with FLYBALL_CACHE=read, for changes of strangers, a check stands in its "
            "home's own database"
        )
        settings = own
    draft.is_closed = is_for_strangers(settings) and able["closes_network"]
    if os.environ.get("FLYBALL_URL"):
        draft.warn(
            "FLYBALL_URL names a control plane: nothing was written there, and its champion is not known here. What "
            f"was registered is in {settings.home} only"
        )
    if _is_writable(settings.home):
        with closing(open_backends(settings)) as backends:
            yield backends
        return
    draft.warn(
        f"{settings.home} can't be written: the check was made in a home of its own, which is gone. No version was "
        "kept, and no champion is known there"
    )
    draft.is_kept = False
    with ScratchFolder("ci-home") as home, closing(open_backends(_moved(settings, home))) as backends:
        yield backends


def _moved(settings: Settings, home: Path) -> Settings:
    """The settings with all that lies in the home in another; stores that lie elsewhere stay."""
    inside = f"file://{settings.home / 'objects'}"
    objects = f"file://{home / 'objects'}" if settings.objects_url == inside else settings.objects_url
    return msgspec.structs.replace(
        settings, home=home, database_url=f"sqlite:///{home / 'flyball.db'}", objects_url=objects
    )


def _is_writable(home: Path) -> bool:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True
