"""What `flyball ci` found about a change, as one document: every form of the report is written from it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from flyball.core.values import Interval

REPORT_FORMAT = 1

CiOutcome = Literal["pass", "fail", "inconclusive", "broken"]
StageOutcome = Literal["pass", "fail", "inconclusive", "broken", "skipped"]
Label = Literal["better", "worse", "same", "unclear"]

EXIT_CODES: dict[CiOutcome, int] = {"pass": 0, "fail": 1, "broken": 3, "inconclusive": 4}


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A version the change is compared with. `name`: "champion", or the base branch's name and commit."""

    name: str
    number: int | None
    digest: str
    rows: int = 0
    left_out: int = 0
    because: str | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A paired difference in the metric's unit, the change minus what it is compared with, on the same rows.

    `label`: "same" only where the answers are identical, "unclear" where the interval spans 0 or leaves it out by too
    little for a report that shows many, see `judge.gates.labels`.
    """

    estimate: float
    interval: Interval | None
    label: Label


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the changed model on held-out rows, overall or (`slice`) in one part of them."""

    metric: str
    larger_is_better: bool
    value: float
    interval: Interval | None = None
    rows: int = 0
    slice: str | None = None
    is_protected: bool = False
    versus_champion: Difference | None = None
    versus_base: Difference | None = None


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the check, such as checks, own tests, run, model tests, gates, base, comparison or registration."""

    name: str
    outcome: StageOutcome
    because: str
    seconds: float = 0.0
    cached: bool = False


class ModelTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One model test, or one test function of the project. `rows`: examples that show a failure."""

    kind: str
    name: str
    outcome: StageOutcome
    because: str
    rows: list[dict[str, Any]] = []
    file: str | None = None
    line: int | None = None
    seconds: float = 0.0


class ColumnDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How a column differs from the base's data. `distance`: Jensen-Shannon distance, 0 to 1; None for a new column."""

    column: str
    change: Literal["added", "removed", "type", "contract", "distribution"]
    before: str | None = None
    after: str | None = None
    distance: float | None = None


class DataDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and columns of the change's data beside those of the version it is compared with."""

    rows_before: int | None
    rows_after: int
    snapshot_before: str | None
    snapshot_after: str
    columns: list[ColumnDifference] = []


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the loss grows when a feature's values are shuffled, now and in what it is compared with."""

    feature: str
    now: float
    before: float | None


class ChangedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A held-out row whose answer changed most."""

    row: dict[str, Any]
    before: Any
    after: Any
    outcome: Any = None


class PackageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a version costs: milliseconds of a one-row request, sizes in MB, seconds and peak memory of its training."""

    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    package_mb: float | None = None
    memory_mb: float | None = None
    fit_seconds: float | None = None
    training_mb: float | None = None


class PackageChange(msgspec.Struct, frozen=True, kw_only=True):
    """A package of the environment whose version changed; None where it is not there."""

    package: str
    before: str | None
    after: str | None


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """A finding at a line of a file of the repository, for code hosts to show there. `path`: below the repository."""

    path: str
    line: int
    level: Literal["error", "warning", "note"]
    rule: str
    message: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A page to read on at, by its http or https address."""

    name: str
    url: str


class CiReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `because`: short sentences, what decided first. `what_to_do`: one sentence for the author.

    `version`: the number under which the result is registered, None where nothing was; `registered`: by this check.
    `confidence`: of every interval. `left_out`: how many entries of a list were left out to keep a report short, by
    the list's path, such as "tests", "data.columns" or "tests.0.rows" (of the first test).
    """

    format: int = REPORT_FORMAT
    model: str
    outcome: CiOutcome
    because: list[str]
    what_to_do: str
    commit: str | None = None
    branch: str | None = None
    champion: Compared | None = None
    base: Compared | None = None
    run_id: str | None = None
    version: int | None = None
    digest: str | None = None
    registered: bool = False
    trained: bool = False
    stages: list[Stage] = []
    gates: list[dict[str, Any]] = []
    tests: list[ModelTestResult] = []
    metrics: list[MetricLine] = []
    data: DataDifference | None = None
    importances: list[Importance] = []
    changed_predictions: list[ChangedPrediction] = []
    package_now: PackageFacts = PackageFacts()
    package_before: PackageFacts | None = None
    environment: list[PackageChange] = []
    warnings: list[str] = []
    annotations: list[Annotation] = []
    links: list[Link] = []
    confidence: float = 0.95
    left_out: dict[str, int] = {}
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 yes, 1 no, 3 something broke, 4 not enough evidence."""
        return EXIT_CODES[self.outcome]
