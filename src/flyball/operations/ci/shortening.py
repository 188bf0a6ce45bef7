"""A report that fits: lists cut to what tells most, texts to a length, and how much was left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from flyball.core.errors import BadInput
from flyball.operations.ci.report import CiReport, ColumnDifference, Importance, MetricLine

# How many entries a list keeps and how many characters a text: the first step whose report fits is written.
STEPS = ((60, 400), (30, 240), (15, 160), (8, 120), (4, 80), (2, 60), (1, 48))
MOST_EXAMPLES = 10  # rows of one test
MOST_KEYS = 16
LONGEST_LINK = 500
_DEPTH = 6
_WORST_FIRST = {"broken": 0, "fail": 1, "inconclusive": 2, "skipped": 3, "pass": 4}


T = TypeVar("T")


def fit(report: CiReport, write: Callable[[CiReport], str], most_bytes: int) -> str:
    """What `write` makes of the report, shortened as far as it takes to have at most `most_bytes` in UTF-8.

    Raises BadInput when even one entry of each list is too much: `most_bytes` is too small for any report.
    """
    for rows, characters in STEPS:
        short = shorten(report, rows=rows, characters=characters)
        # Writing what is far too much, only to throw it away, would take longer than all the rest.
        if len(msgspec.json.encode(short)) > 4 * most_bytes:
            continue
        text = write(short)
        if len(text.encode()) <= most_bytes:
            return text
    raise BadInput(f"a report does not fit into {most_bytes} bytes; give it 20,000 or more")


def shorten(report: CiReport, *, rows: int, characters: int) -> CiReport:
    """The report with at most `rows` entries in each list, the most telling ones first, and texts cut.

    Of metrics, those over all rows come first, then protected groups, then slices that are worse. Values that JSON does
    not know are written as text.
    """
    left_out = dict(report.left_out)

    def first(
        entries: Sequence[T], path: str, order: Callable[[T], Any] | None = None, most: int = rows
    ) -> list[T]:
        if len(entries) > most:
            left_out[path] = left_out.get(path, 0) + len(entries) - most
        return list(entries if order is None else sorted(entries, key=order))[:most]

    tests = first(report.tests, "tests", lambda test: _WORST_FIRST.get(test.outcome, 1))
    data = report.data
    if data is not None:
        data = structs.replace(data, columns=first(data.columns, "data.columns", _by_distance))
    few = structs.replace(
        report,
        because=first(report.because, "because"),
        stages=first(report.stages, "stages"),
        gates=first(report.gates, "gates", lambda gate: _WORST_FIRST.get(str(gate.get("outcome")), 1)),
        tests=[
            structs.replace(test, rows=first(test.rows, f"tests.{place}.rows", most=min(rows, MOST_EXAMPLES)))
            for place, test in enumerate(tests)
        ],
        metrics=first(report.metrics, "metrics", _by_telling),
        data=data,
        importances=first(report.importances, "importances", _by_importance),
        changed_predictions=first(report.changed_predictions, "changed_predictions"),
        environment=first(report.environment, "environment"),
        warnings=first(report.warnings, "warnings"),
        annotations=first(report.annotations, "annotations"),
        links=[link for link in report.links if len(link.url) <= LONGEST_LINK][:rows],
        left_out={},
    )
    plain = _cut(msgspec.to_builtins(few, enc_hook=str, str_keys=True), 0, rows, characters)
    # An address that was cut leads nowhere.
    links = [
        {**cut, "url": cut_text(link.url, LONGEST_LINK)}
        for cut, link in zip(plain["links"], few.links, strict=True)
    ]
    return msgspec.convert({**plain, "links": links, "left_out": left_out}, CiReport)


def _cut(value: Any, depth: int, rows: int, characters: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, characters)
    if isinstance(value, list | dict) and depth > _DEPTH:
        return cut_text(str(value), characters)
    if isinstance(value, dict):
        # Fields of the report itself are all kept; of what users made, only so many keys.
        kept = list(value.items())[:MOST_KEYS] if depth else value.items()
        return {cut_text(name, characters): _cut(item, depth + 1, rows, characters) for name, item in kept}
    if isinstance(value, list):
        return [_cut(item, depth + 1, rows, characters) for item in value[:rows]]
    return value


def cut_text(text: str, characters: int) -> str:
    """A text of at most so many characters, the last one an ellipsis where some were cut; always valid Unicode.

    >>> cut_text("a long sentence", 7)
    'a long…'
    """
    short = text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


def _by_telling(line: MetricLine) -> tuple[bool, bool, bool, float]:
    sides = [side for side in (line.versus_champion, line.versus_base) if side is not None]
    estimate = sides[0].estimate if sides and math.isfinite(sides[0].estimate) else 0.0
    gain = estimate if line.larger_is_better else -estimate
    overall = line.slice is None
    is_worse = any(side.label == "worse" for side in sides)
    return (False, False, False, 0.0) if overall else (True, not line.is_protected, not is_worse, gain)


def _by_distance(column: ColumnDifference) -> tuple[bool, float]:
    distance = column.distance
    return column.change == "distribution", -distance if distance is not None and math.isfinite(
        distance
    ) else 0.0


def _by_importance(one: Importance) -> float:
    sizes = [abs(value) for value in (one.now, one.before) if value is not None and math.isfinite(value)]
    return -max(sizes, default=0.0)
