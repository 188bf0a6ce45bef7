"""`flyball ci`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import json_option, progress, show, table


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Write the report: .md, .html, .json, .xml (JUnit), .sarif; into a folder, all of them.",
)
@click.option("--base", metavar="REF", help="Compare with this branch, tag or commit.")
@click.option(
    "--post",
    is_flag=True,
    help="Write the report on the pull or merge request that this job runs for, as one comment.",
)
@json_option
def ci(folder: Path, report: Path | None, base: str | None, post: bool, as_json: bool) -> None:
    """Check a change: project, data, training, gates, comparison with champion and base; register what passes.

    FOLDER holds flyball.toml. What neither code, data, parameters nor environment changed is not trained again, also
    on another machine with the same FLYBALL_OBJECTS. Nothing is deployed. The base is where the change left the base
    branch: of the pull request as the host names it, else origin's default branch. Exit codes: 0 it passes, 1 it
    fails, 2 wrong use, 3 something broke, 4 not enough evidence.

    \b
    Example: flyball ci --report report.md
    """
    from flyball.app import check_change, check_report_place, post_ci_report, write_ci_report

    if report is not None:
        check_report_place(report)
    found = check_change(folder, base=base, on_line=progress)
    if report is not None:
        for path in write_ci_report(found, report):
            progress(f"wrote {path}")
    if post:
        progress(post_ci_report(found))
    show(found, as_json, _render)
    sys.exit(found.exit_code)


def _render(report: Any) -> None:
    click.echo(f"{report.model}: {report.outcome}")
    for sentence in report.because:
        click.echo(f"  {sentence}")
    click.echo()
    table(
        ("stage", "outcome", "seconds", "because"),
        [
            (s.name, s.outcome, s.seconds, s.because.splitlines()[0] if s.because else "")
            for s in report.stages
        ],
    )
    rows = [_row(line) for line in report.metrics if line.slice is None]
    if rows:
        click.echo()
        table(("metric", "value", "low", "high", "vs champion", "vs base"), rows)
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
    click.echo(report.what_to_do)


def _row(line: Any) -> tuple[Any, ...]:
    low, high = (None, None) if line.interval is None else (line.interval.low, line.interval.high)
    return (line.metric, line.value, low, high, _told(line.versus_champion), _told(line.versus_base))


def _told(difference: Any) -> str:
    return "" if difference is None else f"{difference.estimate:+.4g} {difference.label}"
