"""The report as JUnit XML: stages, gates and model tests as cases, for every host that shows test results.

Only what the schema of Jenkins' xUnit plugin (junit-10.xsd) knows is written, which GitLab, Azure and GitHub's actions
read as well: no answer for want of evidence is `skipped` there, because JUnit has no third verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from flyball.operations.ci.figures import visible
from flyball.operations.ci.report import CiReport
from flyball.operations.ci.shortening import fit

MOST_BYTES = 1_000_000

_ELEMENTS = {"fail": "failure", "broken": "error", "inconclusive": "skipped", "skipped": "skipped"}


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    classname: str
    outcome: str
    because: str
    detail: str = ""
    seconds: float = 0.0


def write_junit(report: CiReport) -> str:
    """The report as a JUnit document of at most 1 MB with the suites `stages`, `gates` and `tests`."""
    return fit(report, _document, MOST_BYTES)


def _document(report: CiReport) -> str:
    suites = {"stages": _stages(report), "gates": _gates(report), "tests": _tests(report)}
    body = "".join(_suite(report.model, name, cases) for name, cases in suites.items() if cases)
    counts = _counts([case for cases in suites.values() for case in cases])
    total = " ".join(f'{name}="{counts[name]}"' for name in ("tests", "failures", "errors"))
    head = f'<testsuites name={_attribute("flyball ci " + report.model)} {total} time="{_seconds(report.seconds)}">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'


def _stages(report: CiReport) -> list[_Case]:
    return [
        _Case(
            name=stage.name,
            classname=f"{report.model}.stages",
            outcome=stage.outcome,
            because=stage.because,
            seconds=stage.seconds,
        )
        for stage in report.stages
    ]


def _gates(report: CiReport) -> list[_Case]:
    cases = []
    for place, gate in enumerate(report.gates, start=1):
        asked = {key: value for key, value in gate.items() if key not in ("outcome", "because", "metric")}
        cases.append(
            _Case(
                name=f"{gate.get('metric', 'gate')} (gate {place})",
                classname=f"{report.model}.gates",
                outcome=str(gate.get("outcome", "inconclusive")),
                because=str(gate.get("because", "")),
                detail=_json(asked) if asked else "",
            )
        )
    return cases


def _tests(report: CiReport) -> list[_Case]:
    cases = []
    for place, test in enumerate(report.tests):
        lines = [f"{test.file}:{test.line or 1}"] if test.file is not None else []
        lines += [_json(row) for row in test.rows]
        if hidden := report.left_out.get(f"tests.{place}.rows", 0):
            lines.append(f"and {hidden} more rows")
        cases.append(
            _Case(
                name=test.name,
                classname=f"{report.model}.tests.{test.kind}",
                outcome=test.outcome,
                because=test.because,
                detail="\n".join(lines),
                seconds=test.seconds,
            )
        )
    return cases


def _suite(model: str, name: str, cases: Sequence[_Case]) -> str:
    counts = " ".join(f'{key}="{count}"' for key, count in _counts(cases).items())
    seconds = _seconds(sum(case.seconds for case in cases))
    head = f'<testsuite name={_attribute(f"{model} {name}")} {counts} time="{seconds}">'
    return f"{head}\n{''.join(map(_case, cases))}</testsuite>\n"


def _case(case: _Case) -> str:
    head = f"name={_attribute(case.name)} classname={_attribute(case.classname)}"
    head = f'<testcase {head} time="{_seconds(case.seconds)}"'
    if case.outcome == "pass":
        return head + "/>\n"
    element = _ELEMENTS.get(case.outcome, "error")
    message = case.because if case.outcome != "inconclusive" else f"not enough evidence: {case.because}"
    kind = _attribute(case.outcome)
    return f"{head}><{element} type={kind} message={_attribute(message)}>{_text(case.detail)}</{element}></testcase>\n"


def _counts(cases: Iterable[_Case]) -> dict[str, int]:
    elements = [_ELEMENTS.get(case.outcome, "error") if case.outcome != "pass" else "" for case in cases]
    return {
        "tests": len(elements),
        "failures": elements.count("failure"),
        "errors": elements.count("error"),
        "skipped": elements.count("skipped"),
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode(errors="replace")


def _seconds(value: float) -> str:
    # The schema knows digits and a point, no exponent.
    return f"{value:.3f}" if math.isfinite(value) and value >= 0 else "0.000"


def _attribute(text: str) -> str:
    return quoteattr(_sound(text), {"\n": "&#10;"})


def _text(text: str) -> str:
    return escape(_sound(text))


def _sound(text: str) -> str:
    # XML 1.0 has no way to write most control characters.
    return visible(text, kept="\n\t")
