"""All files of a report by their names: what a CI job keeps as its artifact."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from flyball.operations.ci.charts import charts
from flyball.operations.ci.html import write_html
from flyball.operations.ci.junit import write_junit
from flyball.operations.ci.markdown import write_markdown
from flyball.operations.ci.report import CiReport
from flyball.operations.ci.sarif import write_sarif
from flyball.operations.ci.shortening import fit

MOST_JSON_BYTES = 199_000
CHARTS = "charts"
NAMES = ("report.md", "report.html", "report.json", "junit.xml", "report.sarif")


def write_json(report: CiReport) -> str:
    """The report as one JSON document of less than 200 KB; `left_out` says what was cut. NaN is written as null."""
    return fit(report, lambda short: msgspec.json.encode(short).decode() + "\n", MOST_JSON_BYTES)


def report_files(report: CiReport) -> dict[str, str]:
    """Every form of the report: Markdown, HTML, JSON, JUnit XML, SARIF, and the charts that the Markdown shows."""
    drawn = {name: (f"{CHARTS}/{name}.svg", drawing) for name, drawing in charts(report).items()}
    return {
        "report.md": write_markdown(report, charts={name: path for name, (path, _) in drawn.items()}),
        "report.html": write_html(report),
        "report.json": write_json(report),
        "junit.xml": write_junit(report),
        "report.sarif": write_sarif(report),
        **dict(drawn.values()),
    }


def write_report(report: CiReport, folder: Path) -> list[Path]:
    """Put every form of the report into a folder, in place of an earlier one; the paths written."""
    if (folder / CHARTS).is_symlink():
        (folder / CHARTS).unlink()
    return [put(folder / name, text) for name, text in report_files(report).items()]


def put(path: Path, text: str) -> Path:
    """Write a file whole, in place of what has its name: a link is replaced and not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    os.replace(partial, path)
    return path
