"""`flyball deploy|rollout|rollback`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.output import facts, json_option, progress, show, table


@click.command()
@click.argument("ref")
@click.option("--why", default="", help="Recorded with the rollout.")
@click.option(
    "--strategy",
    type=click.Choice(["canary", "shadow", "blue-green", "immediate"]),
    help="Instead of the file's.",
)
@click.option(
    "--wait", is_flag=True, help="Follow the rollout to its end; exit 0 promoted, 1 aborted, 4 undecided."
)
@json_option
def deploy(ref: str, why: str, strategy: str | None, wait: bool, as_json: bool) -> None:
    """Start a rollout of MODEL[@REF] (the newest registered version without @REF).

    The first version of a model becomes champion at once: there is nothing to compare it with.

    \b
    Example: flyball deploy credit-default@4 --why "new features" --wait
    """
    from flyball.app import open_app

    with open_app() as app:
        started = app.deploy(ref, why=why, strategy=strategy)
        if wait:
            started = app.follow_rollout(started, progress)
        show(started, as_json, _render_rollout)
    if wait and started is not None:
        sys.exit({"promoted": 0, "aborted": 1, "rolled_back": 1, "undecided": 4}.get(started.state, 0))


def _render_rollout(found: Any) -> None:
    if found is None:
        click.echo("no rollout")
        return
    names = ("id", "model", "champion", "candidate", "strategy", "state", "step", "because")
    facts((name, getattr(found, name, None)) for name in names)


@click.group()
def rollout() -> None:
    """Look at a rollout, or decide it yourself."""


@rollout.command()
@click.argument("model")
@json_option
def status(model: str, as_json: bool) -> None:
    """Show the newest rollout of MODEL and each guard. Example: flyball rollout status credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show(app.rollout_status(model), as_json, _render_status)


def _render_status(found: Any) -> None:
    _render_rollout(found)
    guards = ((getattr(found, "evidence", None) or {}).get("guards")) or []
    if guards:
        table(
            ("guard", "state", "seen", "estimate", "because"),
            [
                (g.get("metric"), g.get("state"), g.get("count"), g.get("estimate"), g.get("because"))
                for g in guards
            ],
        )


def _decision(name: str, text: str) -> None:
    @rollout.command(name, help=f"{text} Example: flyball rollout {name} credit-default --why reason")
    @click.argument("model")
    @click.option("--why", required=True, help="Recorded with the decision.")
    @json_option
    def command(model: str, why: str, as_json: bool) -> None:
        from flyball.app import open_app

        with open_app() as app:
            show(app.decide_rollout(model, name, why=why), as_json, _render_rollout)


_decision("pause", "Keep the present step of MODEL's rollout until resumed.")
_decision("resume", "Go on with a paused rollout of MODEL.")
_decision("promote", "Make the candidate of MODEL champion now, by your decision.")
_decision("abort", "End the rollout of MODEL; the champion stays.")


@click.command()
@click.argument("model")
@click.option(
    "--to", default=None, metavar="REF", help="A version number or alias; default: the previous champion."
)
@click.option("--why", required=True, help="Recorded with the rollback.")
@json_option
def rollback(model: str, to: str | None, why: str, as_json: bool) -> None:
    """Put MODEL's previous champion back in service, at once. Example: flyball rollback churn --why complaints"""
    from flyball.app import open_app

    with open_app() as app:
        result = app.rollback(model, to=to, why=why)
        show(
            result,
            as_json,
            lambda r: click.echo(f"{model}: champion is version {r['champion']} (was {r['was']})"),
        )
