"""`flyball deploy|rollout|rollback`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import json_option, printable, progress, short, show
from flyball.core.errors import BadInput


@click.command()
@click.argument("ref", metavar="MODEL[@REF]")
@click.option("--why", default="", help="Recorded with the rollout.")
@click.option(
    "--strategy",
    type=click.Choice(["canary", "shadow", "blue-green", "immediate"]),
    help="Instead of the file's.",
)
@click.option(
    "--wait", is_flag=True, help="Follow the rollout to its end; exit 0 promoted, 1 aborted, 4 undecided."
)
@environment_option
@json_option
def deploy(
    ref: str, why: str, strategy: str | None, wait: bool, environment: str | None, as_json: bool
) -> None:
    """Start a rollout of a version (the newest registered one without @REF).

    The first version of a model becomes champion as soon as it has its approvals: there is nothing to compare it with.

    With --env the version is taken, byte for byte, from this home to that environment, or from the environment that it
    comes `after` (only its champion), and its rollout starts there. A repeat changes nothing.

    \b
    Examples: flyball deploy credit-default@4 --why "new features" --wait
              flyball deploy credit-default --env production --why "a week in staging"
    """
    from flyball.cli.connection import open_flyball, tell_home

    tell_home()
    done: Any
    if environment is not None:
        done = deploy_to_environment(ref, environment, why, strategy)
    else:
        with open_flyball() as app:
            done = app.deploy(ref, why=why, strategy=strategy)
    if not wait:
        show(done, as_json, render_started)
        return
    with open_flyball(environment) as app:
        from flyball.cli.following import follow_rollout

        done = follow_rollout(app, done, progress)
        show(done, as_json, _render_rollout if hasattr(done, "candidate") else render_started)
    sys.exit({"aborted": 1, "rolled_back": 1, "undecided": 4}.get(done.state, 0))


def deploy_to_environment(ref: str, environment: str, why: str, strategy: str | None) -> Any:
    """Take a version to an environment of the working folder's project, in place or behind an address."""
    from flyball.app import deploy_to
    from flyball.cli.environment import find

    found = find(environment)
    if os.environ.get("FLYBALL_URL") and found.section.after is None:
        raise BadInput(
            f"a version is taken to {environment} from a home on this machine, and FLYBALL_URL names a control plane "
            "elsewhere; unset it, or run this on its home"
        )
    if found.url is None:
        return deploy_to(ref, found, why=why, strategy=strategy)
    from flyball.cli.connection import open_flyball
    from flyball.operations.environments.remote import deploy_through

    with open_flyball(environment) as client:
        return deploy_through(client, ref, found, Path.cwd(), os.environ, why=why, strategy=strategy)


def render_started(started: Any) -> None:
    """Say what a deployment led to."""
    option = ""
    if environment := getattr(started, "environment", None):
        option = f" --env {environment}"
        taken = f"{started.model}@{started.taken_version} of {started.taken_from or 'this home'}"
        click.echo(f"{taken} is {started.model}@{started.version} of {environment}: {short(started.digest)}")
    if started.rollout_id is None and not started.first:
        click.echo(f"{started.model}@{started.version}: {printable(started.because)}")
        return
    if started.first:
        click.echo(f"{started.model}@{started.version} is champion: {printable(started.because)}")
        return
    click.echo(f"{started.model}@{started.version}: rollout {started.rollout_id} is {started.state}")
    if started.waiting_for:
        missing = "1 approval is" if started.waiting_for == 1 else f"{started.waiting_for} approvals are"
        click.echo(
            f"{missing} missing before it begins: `flyball approve {started.model}@{started.version}{option} --why …`, "
            "by somebody who did not make the version"
        )
    click.echo(f"`flyball rollout status {started.model}{option}` shows how it goes")


def _render_rollout(found: Any) -> None:
    from flyball.cli.rollout_status import render_rollout

    render_rollout(found, datetime.now(UTC))


@click.group()
def rollout() -> None:
    """Look at a rollout, or decide it yourself.

    \b
    Example: flyball rollout status credit-default
    """


@rollout.command()
@click.argument("model")
@environment_option
@json_option
def status(model: str, environment: str | None, as_json: bool) -> None:
    """Show the newest rollout of MODEL: its step, what it waits for, what is left of its times, and each guard.

    A guard's evidence stands beside what decides: `for` is for "not worse than allowed", `against` for harm. Wall time
    is since the step began; model time and requests are those of the last look.

    \b
    Example: flyball rollout status credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(app.rollout_status(model), as_json, _render_status)


def _render_status(found: Any) -> None:
    from flyball.cli.rollout_status import render_guards

    _render_rollout(found)
    render_guards(found)


def _decision(name: str, text: str) -> None:
    example = f"flyball rollout {name} credit-default --why reason"

    @rollout.command(name, help=f"{text}\n\n\b\nExample: {example}")
    @click.argument("model")
    @click.option("--why", required=True, help="Recorded with the decision.")
    @environment_option
    @json_option
    def command(model: str, why: str, environment: str | None, as_json: bool) -> None:
        from flyball.cli.connection import open_flyball

        with open_flyball(environment) as app:
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
@environment_option
@json_option
def rollback(model: str, to: str | None, why: str, environment: str | None, as_json: bool) -> None:
    """Put MODEL's previous champion back in service, at once.

    The version that goes out is rejected: a second rollback goes one champion further back, and never to a rejected
    version unless --to names it.

    \b
    Example: flyball rollback credit-default --why complaints
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        result = app.rollback(model, to=to, why=why)
        show(result, as_json, _render_rollback)


def _render_rollback(done: Any) -> None:
    model, target = done["model"], done.get("next_target")
    click.echo(f"{model}: champion is version {done['champion']} (was {done['was']}, which is rejected now)")
    if target is None:
        click.echo("another rollback has no version to go to, unless --to names one")
    else:
        click.echo(f"another rollback would go to version {target}")
