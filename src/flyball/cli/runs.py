"""`flyball run` and `flyball runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flyball.cli.output import facts, json_option, progress, show, table


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a setting: train.params.k=v"
)
@click.option("--why", default="", help="Recorded with the run and the version.")
@json_option
def run(folder: Path, sets: tuple[str, ...], why: str, as_json: bool) -> None:
    """Snapshot, check, train, evaluate, package, gate and register a version. Nothing is deployed.

    A version that fails its gates is kept as refused (exit code 1). A repeat of an unchanged run trains nothing.

    \b
    Example: flyball run --set train.params.learning_rate=0.05
    """
    from flyball.app import open_app

    with open_app(folder) as app:
        result = app.run(folder, sets=sets, why=why, on_line=progress)
        show(result, as_json, _render_run)
    sys.exit(0 if result.state == "registered" else 1 if result.state == "refused" else 3)


def _render_run(result: Any) -> None:
    if result.cached:
        click.echo(f"nothing changed: {result.model}@{result.version} stands, nothing was trained")
    elif result.version is not None:
        click.echo(f"{result.model}@{result.version} {result.state}")
    else:
        click.echo(f"run {result.run_id} {result.state}: {result.error}")
    rows = []
    for name, measured in (result.metrics or {}).items():
        low, high = _bounds(measured)
        rows.append((name, _value(measured), low, high))
    if rows:
        table(("metric", "value", "low", "high"), rows)
    for gate in result.gates or []:
        click.echo(f"gate {_get(gate, 'metric')}: {_get(gate, 'outcome')} ({_get(gate, 'because')})")
    for warning in result.warnings or []:
        click.echo(f"warning: {warning}")
    facts((("run", result.run_id), ("digest", result.digest), ("seconds", result.seconds)))


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _value(measured: Any) -> Any:
    return measured if isinstance(measured, int | float) else _get(measured, "value")


def _bounds(measured: Any) -> tuple[Any, Any]:
    interval = None if isinstance(measured, int | float) else _get(measured, "interval")
    return (None, None) if interval is None else (_get(interval, "low"), _get(interval, "high"))


@click.group(invoke_without_command=True)
@click.option("--model", default=None, help="Only runs of this model.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
@click.pass_context
def runs(context: click.Context, model: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first; `runs show RUN` and `runs logs RUN` tell more.

    \b
    Example: flyball runs --model credit-default
    """
    if context.invoked_subcommand is not None:
        return
    from flyball.app import open_app

    with open_app() as app:
        listed = app.list_runs(model, limit)
        show(listed, as_json, lambda items: table(*_run_rows(items)))


def _run_rows(items: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    rows = [(r.id, r.model, r.state, r.version, r.started_at, r.why) for r in items]
    return ("run", "model", "state", "version", "started", "why"), rows


@runs.command("show")
@click.argument("run_id")
@json_option
def show_run(run_id: str, as_json: bool) -> None:
    """Show one run with its steps. Example: flyball runs show run_0199…"""
    from flyball.app import open_app

    with open_app() as app:
        found = app.get_run(run_id)
        show(found, as_json, _render_steps)


def _render_steps(found: Any) -> None:
    run_row, steps = found["run"], found["steps"]
    facts(
        (name, getattr(run_row, name, None))
        for name in ("id", "model", "state", "version", "started_at", "why", "error")
    )
    table(("step", "state", "cached", "seconds"), [(s.name, s.state, s.cached, s.seconds) for s in steps])


@runs.command("logs")
@click.argument("run_id")
def logs(run_id: str) -> None:
    """Print what a run printed. Example: flyball runs logs run_0199…"""
    from flyball.app import open_app

    with open_app() as app:
        for line in app.run_logs(run_id):
            click.echo(line)
