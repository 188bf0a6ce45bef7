"""One sentence for the author of a change: what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from flyball.operations.ci.figures import number
from flyball.operations.ci.report import CiReport, MetricLine

# An interval this many times wider than the room it has would take a hundred times the rows.
_HOPELESS = 10


def what_to_do(report: CiReport, *, goes_with_job: bool = False, files: Sequence[str] = ()) -> str:
    """The next step that a report asks for, by its outcome and by the stage that decided it.

    goes_with_job: the home is one that nobody has after this job, and so are the numbers of its versions. files: the
    deployments files that name the model, and so say which version is deployed.
    """
    deciding = [stage.name for stage in report.stages if stage.outcome == report.outcome]
    name = next(iter(deciding), "")
    if report.outcome == "pass":
        return _when_passed(report, goes_with_job, files)
    if report.outcome == "inconclusive":
        asked = "Bring more held-out rows, or ask less of what is not decided: too little was seen to say yes or no."
        return " ".join([asked, *_rows_that_would_decide(report)])
    if name == "checks":
        return "Mend what the check found, at the lines that are marked; `flyball check` repeats it on your machine."
    if name == "own tests":
        return (
            "Mend what the project's own tests found; `flyball test` repeats them, and nothing was trained."
        )
    if report.outcome == "broken":
        if report.run_id is not None:
            return f"Mend what broke; `flyball runs logs {report.run_id}` prints what the run said."
        return "Mend what broke and run the check again; it says nothing about the model."
    if name in ("gates", "model tests"):
        names = " and ".join(name for name in deciding if name in ("gates", "model tests"))
        return f"Improve the model until its {names} pass, or change them in this change with a reason."
    return "Mend what is named above; the model was not judged."


def _when_passed(report: CiReport, goes_with_job: bool, files: Sequence[str]) -> str:
    if report.version is None:
        return "Merge when you like."
    ref = f"{report.model}@{report.version}"
    if not report.registered and _is_known(report):
        return f"Nothing about the model changes: {ref} stands as it is, so merge when you like."
    if files:
        return (
            f"Merge when you like; what is deployed is for {' and '.join(files)} to say: for this version, write "
            f"{report.digest} there."
        )
    if goes_with_job:
        return (
            "Merge when you like; what was tested is the package that `flyball ci deploy` puts into service."
        )
    earlier = "" if report.registered else ", registered before this check,"
    return f"Merge when you like; {ref}{earlier} is what was tested, and `flyball deploy {ref}` starts its rollout."


def _is_known(report: CiReport) -> bool:
    """Whether what was tested is the champion, or what the base has."""
    sides = [side for side in (report.champion, report.base) if side is not None]
    is_base = any(stage.name == "base" and stage.cached for stage in report.stages)
    return is_base or any(side.digest == report.digest for side in sides)


def _rows_that_would_decide(report: CiReport) -> Iterator[str]:
    """How many held-out rows each undecided gate would need, were its estimate to stay what it is.

    An interval narrows as one over the root of the rows, so it takes the square of how much too wide it is.
    """
    lines = {line.metric: line for line in report.metrics if line.slice is None}
    for gate in report.gates:
        line = lines.get(str(gate.get("metric")))
        if gate.get("outcome") != "inconclusive" or gate.get("by") or line is None:
            continue
        for room, width in _rooms(gate, line):
            if room <= 0:
                yield (
                    f"What was seen of {line.metric} is on the wrong side of what is asked: more rows would rather "
                    "refuse it."
                )
            elif width > _HOPELESS * room:
                yield (
                    f"What was seen of {line.metric} lies right at the limit that is asked: hardly any number of rows "
                    "would decide it."
                )
            elif width > room and line.rows:
                rows = math.ceil(line.rows * (width / room) ** 2 / 1000) * 1000
                yield (
                    f"If {line.metric} stays what it is, about {number(rows)} held-out rows would decide it; there "
                    f"were {number(line.rows)}."
                )


def _rooms(gate: dict[str, Any], line: MetricLine) -> Iterator[tuple[float, float]]:
    """Per limit of a gate: how far the estimate is on its good side, and how far its interval reaches towards it."""
    if gate.get("versus"):
        side = line.versus_champion
        if side is None or side.interval is None:
            return
        if gate.get("max_increase") is not None:
            yield gate["max_increase"] - side.estimate, side.interval.high - side.estimate
        if gate.get("max_decrease") is not None:
            yield gate["max_decrease"] + side.estimate, side.estimate - side.interval.low
    elif line.interval is not None:
        if gate.get("max") is not None:
            yield gate["max"] - line.value, line.interval.high - line.value
        if gate.get("min") is not None:
            yield line.value - gate["min"], line.value - line.interval.low
