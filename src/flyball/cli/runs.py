"""`flyball run` and `flyball runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import (
    exit_code_of,
    facts,
    json_option,
    key_option,
    line_of,
    printable,
    progress,
    short,
    show,
    table,
)
from flyball.pipelines.left_out import OUTPUT_FOLDERS

RUN_HELP = f"""Snapshot, check, train, evaluate, package, gate and register a version. Nothing is deployed.

FOLDER holds flyball.toml. A version that fails its gates is kept as refused (exit code 1). A repeat of an
unchanged run trains nothing. `flyball run show RUN` and `flyball run logs RUN` tell of an earlier one.

The project's files are kept with the version and are what is trained with: all small files that git does not
ignore, settings in JSON too, but no tables and, unless git tracks them, no logs and nothing but Python in
{", ".join(OUTPUT_FOLDERS[:-1])} and {OUTPUT_FOLDERS[-1]}. So a report written there trains nothing;
`flyball check` lists what is left out.

\b
Example: flyball run --set train.params.learning_rate=0.05
"""


@click.command(help=RUN_HELP)
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a setting: train.params.k=v"
)
@click.option("--why", default="", help="Recorded with the run and the version.")
@key_option
@click.option("--wait", is_flag=True, help="Wait for the end of the run, as it always does.")
@json_option
def run(folder: Path, sets: tuple[str, ...], why: str, key: str | None, wait: bool, as_json: bool) -> None:
    """Make a run and print what it gave; see `RUN_HELP`."""
    from flyball.app import open_app
    from flyball.cli.connection import tell_home
    from flyball.cli.run_progress import RunProgress
    from flyball.pipelines.project_file import find_project_file

    find_project_file(folder)  # before a home is made for nothing
    tell_home(folder)
    told = RunProgress()
    with open_app(folder) as app:
        try:
            result = app.run(folder, sets=sets, why=why, on_line=told, key=key)
        except KeyboardInterrupt:
            told(
                "the next `flyball run`, or a running `flyball up`, goes on with it; `flyball run cancel RUN` ends it"
            )
            raise
        finally:
            told.close()
        if not result.warnings:  # a run that failed has none in its result
            for warning in told.warnings:
                progress(f"warning: {warning}")
        show(result, as_json, _render_run)
    if key is not None and result.state not in ("registered", "refused"):
        progress(f"the key {key!r} stands for this end; to try again choose another, such as {key + '-2'!r}")
    sys.exit(_exit_code(result))


def _exit_code(result: Any) -> int:
    from flyball.core.errors import FlyballError, find_class

    if result.state in ("registered", "refused"):
        return 0 if result.state == "registered" else 1
    return exit_code_of(find_class((result.error or {}).get("code", "")) or FlyballError)


def _render_run(result: Any) -> None:
    if result.error is not None:
        for line in f"error: {result.error['message']}".split("\n"):  # a traceback of the project's own
            progress(line)
    if result.cached:
        click.echo(f"nothing changed: {result.model}@{result.version} stands, nothing was trained")
    elif result.version is not None:
        click.echo(f"{result.model}@{result.version} {result.state}")
    else:
        click.echo(
            f"{result.state}, nothing was registered; `flyball runs logs {result.run_id}` prints its log"
        )
    rows = [(name, m["value"], *_bounds(m)) for name, m in (result.metrics or {}).items()]
    if rows:
        table(("metric", "value", "low", "high"), rows)
    for gate in result.gates or []:
        click.echo(printable(f"gate {gate['metric']}: {gate['outcome']} ({gate['because']})"))
    if result.tests:
        from flyball.cli.testing import render_tests

        render_tests(result.tests)
    for warning in result.warnings or []:
        click.echo(f"warning: {printable(warning)}")
    facts((("run", result.run_id), ("digest", short(result.digest or "")), ("seconds", result.seconds)))


def _bounds(measured: dict[str, Any]) -> tuple[Any, Any]:
    interval = measured.get("interval")
    return (None, None) if interval is None else (interval["low"], interval["high"])


@click.group(invoke_without_command=True)
@click.option("--model", default=None, help="Only runs of this model.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@environment_option
@json_option
@click.pass_context
def runs(
    context: click.Context, model: str | None, limit: int, environment: str | None, as_json: bool
) -> None:
    """List runs, newest first; `runs show RUN` and `runs logs RUN` tell more, `runs cancel RUN` ends one.

    \b
    Example: flyball runs --model credit-default
    """
    if context.invoked_subcommand is not None:
        return
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        listed = app.list_runs(model, limit)
        show(listed, as_json, lambda items: table(*_run_rows(items)))


def _run_rows(items: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    rows = [(r.id, r.model, r.state, r.version, r.started_at, r.why) for r in items]
    return ("run", "model", "state", "version", "started", "why"), rows


@runs.command("show")
@click.argument("run_id", metavar="RUN")
@environment_option
@json_option
def show_run(run_id: str, environment: str | None, as_json: bool) -> None:
    """Show one run with its steps.

    \b
    Example: flyball runs show run_0199…
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(app.get_run(run_id), as_json, _render_steps)


def _render_steps(found: Any) -> None:
    run_row, steps = found["run"], found["steps"]
    error = run_row.error or {}
    facts(
        [
            ("run", run_row.id),
            ("model", run_row.model),
            ("state", run_row.state),
            ("version", run_row.version),
            ("started", run_row.started_at),
            ("finished", run_row.finished_at),
            ("why", run_row.why),
            ("key", (run_row.request or {}).get("key")),
            ("error", error.get("message")),
        ]
    )
    click.echo()
    table(
        ("step", "state", "seconds"),
        [(s.name, "unchanged" if s.cached else s.state, s.seconds) for s in steps],
    )


@runs.command("logs")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--limit",
    default=10_000,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="How many of the last lines.",
)
@environment_option
@json_option
def logs(run_id: str, limit: int, environment: str | None, as_json: bool) -> None:
    """Print what a run printed, oldest line first.

    A log keeps its first 4 MiB and at least its last 12 MiB.

    \b
    Example: flyball runs logs run_0199… --limit 50
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        found = {"run": run_id, "lines": app.run_logs(run_id, limit)}
        show(found, as_json, lambda log: click.echo("\n".join(line_of(line) for line in log["lines"])))


@runs.command("cancel")
@click.argument("run_id", metavar="RUN")
@click.option("--why", required=True, help="Recorded with the run.")
@environment_option
@json_option
def cancel(run_id: str, why: str, environment: str | None, as_json: bool) -> None:
    """End a run that goes on, wherever on this home; nothing is registered.

    \b
    Example: flyball runs cancel run_0199… --why "wrong data"
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
        ended = app.cancel_run(run_id, why=why)
        show(ended, as_json, lambda run: click.echo(f"{run.id} of {run.model} is {run.state}"))
