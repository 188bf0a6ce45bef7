"""`flyball plan|apply`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from flyball.cli.following import POLL_SECONDS
from flyball.cli.output import json_option, printable, progress, short, show

FILES = click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
TAKE_BACK = click.option(
    "--take-back", is_flag=True, help="Also against what was decided by hand, or by guards, since."
)
_MARKS = {"nothing": "=", "wait": "…", "held": "!", "blocked": "!", "roll back": "<"}


@click.command()
@FILES
@TAKE_BACK
@click.option(
    "--check",
    is_flag=True,
    help="Exit 1 when files and reality differ, unless a rollout is on its way there.",
)
@click.option(
    "--offline", is_flag=True, help="Only read the files; no home is opened, so no change can be told."
)
@json_option
def plan(files: tuple[Path, ...], take_back: bool, check: bool, offline: bool, as_json: bool) -> None:
    """Show what `flyball apply` of deployments files would change, and why; nothing is written.

    Told of each model: what is to be done, which settings change, what it waits for or is blocked by, and who changed
    reality by hand since the last apply. Models in service that no file names are told, and never removed.

    \b
    Example: flyball plan deployments/production.toml
    """
    if offline:
        if check or take_back:
            raise click.UsageError("--offline opens no home, so there is nothing to check or to take back")
        from flyball.app import read_named

        show(read_named(files), as_json, _render_named)
        return
    from flyball.cli.connection import open_home

    with open_home() as app:
        made = app.plan(files, take_back=take_back)
    show(made, as_json, _render_plan)
    sys.exit(1 if check and made.differs else 0)


@click.command()
@FILES
@click.option("--why", default="", help="Recorded with every change.")
@TAKE_BACK
@click.option(
    "--wait", is_flag=True, help="Follow the rollouts under way; exit 4 when some are left undecided."
)
@json_option
def apply(files: tuple[Path, ...], why: str, take_back: bool, wait: bool, as_json: bool) -> None:
    """Bring environments to what deployments files say, model by model; what is so already is left alone.

    Exit codes: 0 everything is done or under way, 1 a model failed, is held or blocked, 4 it is so for want of evidence
    or, with --wait, a rollout waits for people.

    \b
    Example: flyball apply deployments/production.toml --why "release 12"
    """
    from flyball.cli.connection import open_home

    with open_home() as app:
        told = None if as_json else _render_plan
        done = app.apply(files, why=why, take_back=take_back, on_plan=told)
        code = done.exit_code
        if wait and code != 1:
            code = _follow(app, files) or code
    show(done, as_json, _render_applied)
    sys.exit(code)


def _follow(app: Any, files: tuple[Path, ...]) -> int:
    """Wait while rollouts are decided by evidence; the exit code of what is left then."""
    seen = ""
    while True:
        changes = [(one.model, one.change) for one in app.plan(files).planned]
        under_way = [
            f"{model}: {change.because}" for model, change in changes if change.waits_for == "evidence"
        ]
        if not under_way:
            break
        if (line := "; ".join(under_way)) != seen:
            progress(line if seen else f"{line}; it goes on while `flyball up` runs there (Ctrl-C leaves it)")
            seen = line
        time.sleep(POLL_SECONDS)
    left = [change for _, change in changes if change.kind != "nothing"]
    if any(change.kind in ("held", "blocked") and not change.is_undecided for change in left):
        return 1
    return 4 if left else 0


def _render_named(named: list[Any]) -> None:
    for one in named:
        click.echo(f"{_where(one)}: {short(one.version)} ({printable(one.file)}:{one.line})")


def _render_plan(made: Any) -> None:
    from flyball.cli.advice import advised

    for one in made.planned:
        change = one.change
        click.echo(f"{_MARKS.get(change.kind, '+')} {_where(one)}: {_said(change.kind, change)}")
        for note in change.notes:
            click.echo(f"    {printable(note)}")
        if change.kind not in ("held", "blocked", "wait"):
            for setting in change.settings:
                click.echo(f"    {printable(setting.key)}: {_value(setting.old)} → {_value(setting.new)}")
        if change.advice:
            click.echo(f"    {advised(change.advice, one.environment)}")
    for found in made.not_named:
        click.echo(f"  {_where(found)}: not in the files, left alone ({short(found.champion)})")


def _render_applied(done: Any) -> None:
    click.echo()
    for one in done.outcomes:
        where = _where(one.planned)
        if one.error is not None:
            click.echo(f"{where}: error: {printable(one.error)}")
        elif one.unlike_plan:
            click.echo(
                f"{where}: reality moved since the plan: {one.change.kind}, {printable(one.change.because)}"
            )
        if one.done:
            click.echo(f"{where}: {printable(short(one.done))}")
    if not any(one.done or one.error or one.unlike_plan for one in done.outcomes):
        click.echo("nothing was done")


def _said(kind: str, change: Any) -> str:
    versions = {"settings": "", "nothing": "", "held": "", "end": ""}
    arrow = "" if change.digest is None else short(change.digest)
    if change.champion not in (None, change.digest):
        arrow = f"{short(change.champion)} → {arrow}"
    words = printable(short(change.because))
    return f"{kind} {versions.get(kind, arrow)}".rstrip() + f": {words}"


def _value(value: Any) -> str:
    import msgspec

    return printable(msgspec.json.encode(value).decode())


def _where(one: Any) -> str:
    return one.model if one.environment is None else f"{one.environment}/{one.model}"
