"""`flyball ci` and its verbs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.ci_affected import affected
from flyball.cli.ci_propose import propose
from flyball.cli.ci_workflows import check_locally, deploy, init
from flyball.cli.output import json_option, line_of, progress, show, table


class CheckOrVerb(click.Group):
    """`flyball ci [FOLDER]` checks a change; a first word that is one of its verbs is that verb."""

    allow_interspersed_args = True

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        verb = self.commands.get(args[0]) if args else None
        if verb is not None:
            return verb.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


class OwnArgument(click.Argument):
    """An argument of the check itself: no part of the names of its verbs."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        return super().get_usage_pieces(ctx) if isinstance(ctx.command, CheckOrVerb) else []


@click.group(cls=CheckOrVerb, invoke_without_command=True, subcommand_metavar="")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False), cls=OwnArgument)
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
@click.option(
    "--local",
    is_flag=True,
    help="Run what the host would run, in a clean clone and environment; all models that are affected.",
)
@json_option
def ci(folder: Path, report: Path | None, base: str | None, post: bool, local: bool, as_json: bool) -> None:
    """Check a change: project, data, training, gates, comparison with champion and base; register what passes.

    FOLDER holds flyball.toml; one that is named like a command below is written ./init. What neither code, data,
    parameters nor environment changed is not trained again, also on another machine with the same FLYBALL_OBJECTS.
    Nothing is deployed. The base is where the change left the base branch: of the pull request as the host names it,
    else origin's default branch. Exit codes: 0 it passes, 1 it fails, 2 wrong use, 3 something broke, 4 not enough
    evidence.

    \b
    Examples: flyball ci --report report.md
              flyball ci --local
    """
    from flyball.app import check_change, check_report_place, post_ci_report, write_ci_report

    if local:
        if post:
            raise click.UsageError("--local posts nothing: there is no pull request to post on")
        check_locally(folder, report, base, as_json)
    if report is not None:
        check_report_place(report)
    found = check_change(folder, base=base, on_line=lambda line: progress(_harmless(line)))
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
        click.echo(f"  {_harmless(sentence)}")
    click.echo()
    table(
        ("stage", "outcome", "seconds", "because"),
        [
            (s.name, s.outcome, s.seconds, _harmless(s.because.splitlines()[0] if s.because else ""))
            for s in report.stages
        ],
    )
    rows = [_row(line) for line in report.metrics if line.slice is None]
    if rows:
        click.echo()
        table(("metric", "value", "low", "high", "vs champion", "vs base"), rows)
    for warning in report.warnings:
        click.echo(f"warning: {_harmless(warning)}")
    click.echo(_harmless(report.what_to_do))


def _render_told(told: list[dict[str, str]]) -> None:
    for one in told:
        click.echo(_harmless(one["told"]))


def _harmless(text: str) -> str:
    r"""A line in which the host that keeps it finds no command to itself, whatever the project's code has said.

    >>> _harmless("a\n::add-mask::b"), _harmless("::error::c"), _harmless("##vso[task.setvariable]d")
    ('a / ::add-mask::b', '| ::error::c', '# #vso[task.setvariable]d')
    """
    return line_of(" / ".join(text.splitlines()))


def _row(line: Any) -> tuple[Any, ...]:
    low, high = (None, None) if line.interval is None else (line.interval.low, line.interval.high)
    return (line.metric, line.value, low, high, _told(line.versus_champion), _told(line.versus_base))


def _told(difference: Any) -> str:
    from flyball.operations.ci.figures import rounded_estimate

    if difference is None:
        return ""
    return f"{rounded_estimate(difference.estimate, difference.interval)} {difference.label}"


@ci.command()
@click.argument("place", metavar="REPORT.json|FOLDER", type=click.Path(path_type=Path))
@json_option
def post(place: Path, as_json: bool) -> None:
    """Write reports that an earlier job kept on the pull or merge request, for a job that holds the token for it.

    The job that runs the project's code needs no token then. Of a folder, every report.json below it is posted. What
    the files say is shown as text and trusted in nothing else. The exit code is 0 whether it worked or not, for the
    verdict is the check's; the sentence says which.

    \b
    Example: flyball ci post reports
    """
    from flyball.app import post_received_reports

    show(post_received_reports(place), as_json, _render_told)


for verb in (affected, init, deploy, propose):
    ci.add_command(verb)
