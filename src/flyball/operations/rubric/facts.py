"""What a score is counted from: the project file, the repository around it, and what its home knows of the model."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.backends.db.database import Database
from flyball.core.errors import ModelNotFound, VersionNotFound
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.delivery.rollouts import list_rollouts
from flyball.monitoring.windows import list_windows
from flyball.operations.rubric.repository import (
    find_checks,
    find_schedules,
    find_updates,
    is_there,
    tests_of_modules,
)
from flyball.pipelines.git_run import find_repository, git
from flyball.pipelines.project_file import FILE_NAME, ProjectFile
from flyball.registry.aliases import find_alias
from flyball.registry.evidence import Evidence, list_evidence
from flyball.registry.versions import resolve

MOST_WINDOWS = 200


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a model test or gate ended for the judged version. `rule`: what it asks; `evidence`: under which id."""

    rule: dict[str, Any]
    outcome: str
    evidence: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a project says that something is documented, and whether that can be there."""

    where: str
    exists: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that items are judged by.

    checks, schedules, updates: places (file:line) that run Flyball on each change, run it by the clock, and tell of new
    packages. tested: by module of an entry, the project's own tests that lead to it. version: the champion, else the
    newest that was not refused, as `model@number`; features, tests, gates, slices and evaluation (an evidence id) are
    its own. carried: the newest rollout that promoted a candidate by a canary or shadow. windows, with_outcomes: of
    production that were analysed.
    """

    project: Project
    lines: dict[str, int] = {}
    documented: dict[str, Place] = {}
    is_tracked: bool = False
    checks: list[str] = []
    schedules: list[str] = []
    updates: list[str] = []
    tested: dict[str, list[str]] = {}
    version: str | None = None
    features: list[str] = []
    tests: list[Outcome] = []
    gates: list[Outcome] = []
    slices: list[str] = []
    evaluation: str | None = None
    champion: int | None = None
    previous: int | None = None
    carried: str | None = None
    windows: int = 0
    with_outcomes: int = 0

    def at(self, key: str) -> str:
        """The place of a key in the project file; the file alone for one that is a default."""
        line = self.lines.get(key)
        return FILE_NAME if line is None else f"{FILE_NAME}:{line}"


def read_facts(database: Database, file: ProjectFile) -> Facts:
    """The facts of a project; what its home does not know is empty. Reads only.

    database: of the project's home.
    """
    project, folder = file.project, file.folder
    root = find_repository(folder) or folder
    entries = [step.entry for step in project.steps] + [project.train.entry]
    modules = [entry.partition(":")[0] for entry in entries if ":" in entry]
    with database.read() as conn:
        known = _of_model(conn, project.model.name)
    return Facts(
        project=project,
        lines=file.lines,
        documented={
            item: Place(where=where, exists=is_there(where, folder, root))
            for item, where in project.rubric.items()
        },
        is_tracked=git(folder, "ls-files", "--error-unmatch", FILE_NAME) is not None,
        checks=find_checks(root),
        schedules=find_schedules(root),
        updates=find_updates(root),
        tested=tests_of_modules(folder, modules),
        **known,
    )


def _of_model(conn: Connection, model: str) -> dict[str, Any]:
    try:
        judged = resolve(conn, ModelRef(model))
    except (ModelNotFound, VersionNotFound):
        return {}
    evidence = list_evidence(conn, model, judged.number)
    evaluated = [kept for kept in evidence if kept.kind == "evaluation"]
    windows = list_windows(conn, model, limit=MOST_WINDOWS)
    champion, previous = (find_alias(conn, model, name) for name in ("champion", "previous"))
    carried = [
        rollout
        for rollout in list_rollouts(conn, model, states=("promoted",))
        if rollout.strategy in ("canary", "shadow") and rollout.champion is not None
    ]
    return {
        "version": f"{model}@{judged.number}",
        "features": list(judged.contract.features),
        "tests": [outcome for kept in evidence if kept.kind == "tests" for outcome in _tests(kept)],
        "gates": [
            Outcome(rule=kept.facts, outcome=str(kept.facts["outcome"]), evidence=kept.id)
            for kept in evidence
            if kept.kind == "gate"
        ],
        "slices": list(evaluated[-1].facts.get("slices") or {}) if evaluated else [],
        "evaluation": evaluated[-1].id if evaluated else None,
        "champion": None if champion is None else champion.number,
        "previous": None if previous is None else previous.number,
        "carried": carried[0].id if carried else None,
        "windows": len(windows),
        "with_outcomes": sum(window.loss is not None for window in windows),
    }


def _tests(kept: Evidence) -> list[Outcome]:
    return [
        Outcome(rule={"kind": test["kind"], "name": test["name"]}, outcome=test["outcome"], evidence=kept.id)
        for test in kept.facts["tests"]
    ]
