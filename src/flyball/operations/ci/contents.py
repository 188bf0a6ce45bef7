"""What a report says, as headings, sentences and tables: what Markdown and HTML both show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from flyball.judge.gates.labels import CLAIM_OF_MANY, CLAIM_OF_ONE
from flyball.operations.ci.figures import aligned, estimate_text, number, value_text
from flyball.operations.ci.parts import TONES, Cell, Section, Table, Tone
from flyball.operations.ci.report import (
    CiOutcome,
    CiReport,
    Compared,
    Difference,
    MetricLine,
    ModelTestResult,
    PackageFacts,
)

HEADLINES: dict[CiOutcome, str] = {
    "pass": "can be merged",
    "fail": "don't merge",
    "inconclusive": "not enough evidence yet",
    "broken": "the check itself broke",
}
_PACKAGE_ROWS = (
    ("latency_p50_ms", "One request, median", "ms"),
    ("latency_p99_ms", "One request, slowest of 100", "ms"),
    ("package_mb", "Package", "MB"),
    ("memory_mb", "Memory when loaded", "MB"),
    ("fit_seconds", "Training", "s"),
    ("training_mb", "Memory of training", "MB"),
)
_MOST_COLUMNS = 8
_MOST_UNCLEAR_SLICES = 5


def headline(report: CiReport) -> str:
    """The verdict in one line.

    >>> headline(CiReport(model="churn", outcome="fail", because=[], what_to_do=""))
    "churn: don't merge"
    """
    return f"{report.model}: {HEADLINES[report.outcome]}"


def facts(report: CiReport) -> list[str]:
    """What was checked, against what, and what came of it: short sentences, without dots."""
    told = []
    if report.commit:
        told.append(f"commit {report.commit[:12]}" + (f" on {report.branch}" if report.branch else ""))
    told += _sides_in_words(report)
    told.append("trained" if report.trained else "nothing trained")
    if report.version is not None:
        told.append(f"{'registered as' if report.registered else 'is'} version {report.version}")
    else:
        told.append("not registered")
    if report.digest:
        told.append(f"package {report.digest.removeprefix('sha256:')[:12]}")
    if report.run_id:
        told.append(f"run {report.run_id}")
    told.append(f"{number(report.seconds)} s")
    return told


def sections(report: CiReport) -> list[Section]:
    """Everything after the verdict, the most important first; a part with nothing to say is not there."""
    found = [
        _metrics(report),
        _gates(report),
        *_tests(report),
        _slices(report),
        _data(report),
        _importances(report),
        _changed(report),
        _package(report),
        _environment(report),
        _stages(report),
        _list(report, "Warnings", report.warnings, "warnings"),
        _annotations(report),
    ]
    return [section for section in found if section is not None]


def _sides_in_words(report: CiReport) -> list[str]:
    champion, base = report.champion, report.base
    names: list[tuple[str, Compared]] = []
    if champion is not None:
        names.append((f"champion (version {champion.number})" if champion.number else "champion", champion))
    if base is not None and champion is not None and _is_same(champion, base):
        names = [(f"{names[0][0]} and base {base.name}", champion)]
    elif base is not None:
        names.append((f"base {base.name}", base))
    return [_compared(name, side) for name, side in names]


def _compared(name: str, side: Compared) -> str:
    text = f"against {name}"
    if side.rows:
        text += f" on {number(side.rows)} rows" + (
            f", {number(side.left_out)} left out" if side.left_out else ""
        )
    return text + (f": {side.because}" if side.because else "")


def _metrics(report: CiReport) -> Section | None:
    lines = [line for line in report.metrics if line.slice is None]
    if not lines:
        return None
    percent = number(100 * report.confidence)
    intro = (
        f"On held-out rows, with {percent} % intervals. Differences are paired: both models on the same rows. "
        f"{CLAIM_OF_ONE}"
    )
    lines = sorted(lines, key=lambda line: not _sides(line))  # what was compared stands first
    # Lines over all rows come first, so what was cut were slices wherever there are any.
    has_slices = any(line.slice is not None for line in report.metrics)
    left_out = 0 if has_slices else report.left_out.get("metrics", 0)
    table = _metric_table(report, lines, left_out, with_slice=False)
    return Section(title="Metrics", tables=[table], intro=intro, open=True, chart="differences")


def _slices(report: CiReport) -> Section | None:
    lines = [line for line in report.metrics if line.slice is not None]
    if not lines:
        return None
    worse = sum("worse" in _labels(line) for line in lines)
    shown = _telling(lines)
    left_out = report.left_out.get("metrics", 0) + len(lines) - len(shown)
    table = _metric_table(report, shown, left_out, with_slice=True)
    title = f"Slices and protected groups: {worse} of {len(lines)} worse"
    return Section(title=title, tables=[table], intro=CLAIM_OF_MANY, chart="slices")


def _telling(lines: Sequence[MetricLine]) -> list[MetricLine]:
    """The slices that differ and the protected groups, and a few of those in which no difference is shown."""
    telling = [line for line in lines if line.is_protected or _labels(line) & {"better", "worse"}]
    others = [line for line in lines if line not in telling]
    return [line for line in lines if line in telling or line in others[:_MOST_UNCLEAR_SLICES]]


def _sides(line: MetricLine) -> list[Difference]:
    return [side for side in (line.versus_champion, line.versus_base) if side is not None]


def _labels(line: MetricLine) -> set[str]:
    return {side.label for side in _sides(line)}


def _metric_table(report: CiReport, lines: Sequence[MetricLine], left_out: int, *, with_slice: bool) -> Table:
    columns = [*(["Slice"] if with_slice else []), "Metric", "This change"]
    against = _against(report)
    columns += [*against, "Rows"]
    rows = []
    for line in lines:
        row = [Cell(f"{line.slice}{' (protected)' if line.is_protected else ''}")] if with_slice else []
        arrow = "↑" if line.larger_is_better else "↓"
        row += [Cell(f"{line.metric} {arrow}"), Cell(estimate_text(line.value, line.interval))]
        row += [_difference(getattr(line, side)) for side in against.values()]
        rows.append([*row, Cell(number(line.rows) if line.rows else "–")])
    return Table(columns=columns, rows=rows, numbers=frozenset({len(columns) - 1}), left_out=left_out)


def _against(report: CiReport) -> dict[str, str]:
    """The columns of differences, with the field that each shows; one column where champion and base are the same."""
    if report.champion and report.base and _is_same(report.champion, report.base):
        return {"Against champion and base": "versus_champion"}
    found = {"Against the champion": "versus_champion"} if report.champion else {}
    return found | ({"Against the base": "versus_base"} if report.base else {})


def _is_same(one: Compared, other: Compared) -> bool:
    return (one.digest, one.rows, one.left_out) == (other.digest, other.rows, other.left_out)


def _difference(side: Difference | None) -> Cell:
    if side is None:
        return Cell("not compared", "quiet")
    text = estimate_text(side.estimate, side.interval, signed=True)
    return Cell(text, TONES[side.label], side.label)


def _gates(report: CiReport) -> Section | None:
    if not report.gates:
        return None
    rows = [
        [
            _word(str(gate.get("outcome", ""))),
            Cell(str(gate.get("metric", "–"))),
            Cell(_asked(gate)),
            Cell(str(gate.get("because", ""))),
        ]
        for gate in report.gates
    ]
    passed = sum(gate.get("outcome") == "pass" for gate in report.gates)
    left_out = report.left_out.get("gates", 0)
    table = Table(columns=["Verdict", "Gate", "Asked", "Because"], rows=rows, left_out=left_out)
    title = f"Gates: {passed} of {len(report.gates) + left_out} passed" if not left_out else "Gates"
    return Section(title=title, tables=[table], open=passed < len(report.gates))


def _asked(gate: dict[str, Any]) -> str:
    if gate.get("asks"):
        return str(gate["asks"])
    names = {"min": "at least", "max": "at most", "max_gap": "gap at most"}
    told = [f"{name} {value_text(gate[key])}" for key, name in names.items() if gate.get(key) is not None]
    if gate.get("versus"):
        margins = {"max_increase": "at most {} more", "max_decrease": "at most {} less"}
        told += [
            form.format(value_text(gate[key])) + f" than the {gate['versus']}"
            for key, form in margins.items()
            if gate.get(key) is not None
        ] or [f"not worse than the {gate['versus']}"]
    if gate.get("by"):
        told.append(f"by {value_text(gate['by'])}")
    return ", ".join(told) or "–"


def _tests(report: CiReport) -> Iterable[Section]:
    failed = [test for test in report.tests if test.outcome not in ("pass", "skipped")]
    if not report.tests:
        return
    passed = sum(test.outcome == "pass" for test in report.tests)
    left_out = report.left_out.get("tests", 0)
    rows = [
        [_word(test.outcome), Cell(_named(test)), Cell(test.because), Cell(_place(test))]
        for test in report.tests
    ]
    told = f"{passed} of {len(report.tests)} passed" if not left_out else f"{len(failed)} did not pass"
    examples = [
        _rows_table(
            [_parted(row) for row in test.rows],
            report,
            caption=f"{test.name}: rows that show it",
            left_out=report.left_out.get(f"tests.{place}.rows", 0),
        )
        for place, test in enumerate(report.tests)
        if test.rows and test in failed
    ]
    table = Table(columns=["Result", "Test", "Because", "Where"], rows=rows, left_out=left_out)
    yield Section(title=f"Model tests: {told}", tables=[table, *examples], open=bool(failed))


def _named(test: ModelTestResult) -> str:
    return test.name if test.name.startswith(test.kind) else f"{test.name} ({test.kind})"


def _place(test: ModelTestResult) -> str:
    if test.file is None:
        return "–"
    return f"{test.file}:{test.line}" if test.line is not None else test.file


def _parted(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a row that shows a failure: what was changed and answered, and its own columns."""
    told = {name: value for name, value in row.items() if name != "row"}
    if isinstance(changed := row.get("changed"), dict):
        told["changed"] = "; ".join(f"{name}: {_from_to(pair)}" for name, pair in changed.items())
    own = row.get("row", {})
    return told, own if isinstance(own, dict) else {"row": own}


def _from_to(pair: Any) -> str:
    return " → ".join(map(value_text, pair)) if isinstance(pair, list) else value_text(pair)


def _rows_table(
    rows: Sequence[tuple[dict[str, Any], dict[str, Any]]], report: CiReport, *, caption: str, left_out: int
) -> Table:
    """What is told of rows, and as many of their own columns as there is room for, the most important ones first."""
    order = {one.feature: place for place, one in enumerate(report.importances)}
    said = list(dict.fromkeys(name for told, _ in rows for name in told))[:_MOST_COLUMNS]
    columns = list(dict.fromkeys(name for _, own in rows for name in own))
    shown = sorted(columns, key=lambda name: order.get(name, len(order)))[: _MOST_COLUMNS - len(said)]
    if len(columns) > len(shown):
        caption += f"{' ' if caption else ''}({len(shown)} columns of a row)"
    cells = [
        [
            Cell(value_text(values.get(name)))
            for values, names in ((told, said), (own, shown))
            for name in names
        ]
        for told, own in rows
    ]
    return Table(columns=[*said, *shown], rows=cells, caption=caption, left_out=left_out)


def _data(report: CiReport) -> Section | None:
    data = report.data
    if data is None:
        return None
    rows = f"{number(data.rows_after)} rows"
    if data.rows_before is not None:
        more = data.rows_after - data.rows_before
        rows += (
            f", {number(more, signed=True)} against {number(data.rows_before)}"
            if more
            else ", as many as before"
        )
    same = data.snapshot_before == data.snapshot_after
    names = f"the same snapshot {data.snapshot_after}" if same else f"snapshot {data.snapshot_after}"
    if not same and data.snapshot_before:
        names += f", before {data.snapshot_before}"
    table = Table(
        columns=["Column", "What changed", "Before", "After", "Distance"],
        rows=[
            [
                Cell(column.column),
                _word(column.change, "quiet" if column.change == "distribution" else "warn"),
                Cell(column.before or "–"),
                Cell(column.after or "–"),
                Cell(number(column.distance)),
            ]
            for column in data.columns
        ],
        numbers=frozenset({4}),
        left_out=report.left_out.get("data.columns", 0),
    )
    changed = len(data.columns) + table.left_out
    title = f"Data and contract: {_count(changed, 'column')} changed"
    intro = f"{rows}; {names}."
    if any(column.distance is not None for column in data.columns):
        intro += " Distance: Jensen-Shannon, 0 (equal) to 1."
    return Section(title=title, tables=[table] if data.columns else [], intro=intro)


def _importances(report: CiReport) -> Section | None:
    if not report.importances:
        return None
    now, before = ([getattr(one, side) for one in report.importances] for side in ("now", "before"))
    texts = aligned([*now, *before])
    rows = [
        [
            Cell(one.feature),
            Cell(texts[place]),
            Cell(texts[len(now) + place]),
            Cell("new" if one.before is None else number(one.now - one.before, signed=True)),
        ]
        for place, one in enumerate(report.importances)
    ]
    table = Table(
        columns=["Feature", "Now", "Before", "Change"],
        rows=rows,
        numbers=frozenset({1, 2, 3}),
        left_out=report.left_out.get("importances", 0),
    )
    intro = "By how much the loss grows when a feature's values are shuffled."
    return Section(title="Feature importances", tables=[table], intro=intro, chart="importances")


def _changed(report: CiReport) -> Section | None:
    if not report.changed_predictions:
        return None
    rows = [
        ({"before": one.before, "after": one.after, "what happened": one.outcome}, one.row)
        for one in report.changed_predictions
    ]
    left_out = report.left_out.get("changed_predictions", 0)
    table = _rows_table(rows, report, caption="", left_out=left_out)
    return Section(title="Predictions that changed most", tables=[table])


def _package(report: CiReport) -> Section | None:
    now, before = report.package_now, report.package_before or PackageFacts()
    rows = []
    for key, name, unit in _PACKAGE_ROWS:
        new, old = getattr(now, key), getattr(before, key)
        if new is None and old is None:
            continue
        change = "–"
        if new is not None and old is not None and math.isfinite(new) and math.isfinite(old) and old > 0:
            change = f"{100 * (new - old) / old:+.0f} %"
        rows.append([Cell(name), Cell(_with_unit(new, unit)), Cell(_with_unit(old, unit)), Cell(change)])
    if not rows:
        return None
    columns = ["What", "Now", "Before", "Change"]
    table = Table(columns=columns, rows=rows, numbers=frozenset({1, 2, 3}))
    return Section(title="Speed, size and cost", tables=[table])


def _with_unit(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{number(value)} {unit}"


def _environment(report: CiReport) -> Section | None:
    if not report.environment:
        return None
    rows = [
        [Cell(one.package), Cell(one.before or "not there"), Cell(one.after or "not there")]
        for one in report.environment
    ]
    left_out = report.left_out.get("environment", 0)
    table = Table(columns=["Package", "Before", "Now"], rows=rows, left_out=left_out)
    return Section(title=f"Environment: {_count(len(rows) + left_out, 'package')} changed", tables=[table])


def _stages(report: CiReport) -> Section | None:
    if not report.stages:
        return None
    rows = [
        [
            _word(stage.outcome),
            Cell(stage.name),
            Cell(stage.because + (" (from the cache)" if stage.cached else "")),
            Cell(f"{number(stage.seconds)} s"),
        ]
        for stage in report.stages
    ]
    left_out = report.left_out.get("stages", 0)
    columns = ["Result", "Stage", "Because", "Took"]
    table = Table(columns=columns, rows=rows, numbers=frozenset({3}), left_out=left_out)
    return Section(title="Stages", tables=[table], open=report.outcome == "broken")


def _annotations(report: CiReport) -> Section | None:
    tones: dict[str, Tone] = {"error": "bad", "warning": "warn", "note": "quiet"}
    if not report.annotations:
        return None
    rows = [
        [_word(one.level, tones[one.level]), Cell(f"{one.path}:{one.line}"), Cell(one.message)]
        for one in report.annotations
    ]
    left_out = report.left_out.get("annotations", 0)
    table = Table(columns=["Level", "Where", "What"], rows=rows, left_out=left_out)
    return Section(title="In the files", tables=[table], open=report.outcome == "broken")


def _list(report: CiReport, title: str, lines: Sequence[str], name: str) -> Section | None:
    if not lines:
        return None
    left_out = report.left_out.get(name, 0)
    table = Table(columns=[title], rows=[[Cell(line)] for line in lines], left_out=left_out)
    return Section(title=f"{title}: {len(lines) + left_out}", tables=[table])


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _word(outcome: str, tone: Tone | None = None) -> Cell:
    return Cell("", TONES.get(outcome, "") if tone is None else tone, outcome)
