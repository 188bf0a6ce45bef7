"""`flyball audit log|verify|export`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import facts, json_option, short, show, table


@click.group()
def audit() -> None:
    """The hash-chained record of who did what to what, when and why.

    \b
    Example: flyball audit log --model credit-default
    """


@audit.command()
@click.option("--model", default=None, help="Only entries about this model.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10000), help="How many.")
@environment_option
@json_option
def log(model: str | None, limit: int, environment: str | None, as_json: bool) -> None:
    """Print the newest entries.

    \b
    Example: flyball audit log --model credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(
            app.audit_log(model, limit),
            as_json,
            lambda items: table(
                ("number", "at", "who", "action", "subject", "why"),
                [(e.number, e.at, _who(e.actor), e.action, short(e.subject), e.why) for e in items],
            ),
        )


def _who(actor: object) -> str:
    return str(getattr(actor, "name", actor))


@audit.command()
@click.option(
    "--head",
    default=None,
    metavar="NUMBER:DIGEST",
    help="A head noted earlier: nothing before it can be missing unnoticed.",
)
@environment_option
@json_option
def verify(head: str | None, environment: str | None, as_json: bool) -> None:
    """Check every entry against the chain; exit code 1 when one was changed, removed or moved.

    \b
    Example: flyball audit verify --head 120:sha256:1f9a…
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        result = app.audit_verify(head)
        show(result, as_json, _render_verification)
    sys.exit(0 if result.ok else 1)


def _render_verification(result: Any) -> None:
    click.echo(
        f"the chain holds: {result.entries} entries"
        if result.ok
        else f"the chain is broken at entry {result.bad_number}: {result.problem}"
    )
    facts([("head", _head(result.head))])


def _head(head: Any) -> str:
    return f"{head['number']}:{head['digest']}" if isinstance(head, dict) else str(head)


@audit.command()
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False),
    help="The file to write; must not exist.",
)
@environment_option
@json_option
def export(output: str, environment: str | None, as_json: bool) -> None:
    """Write the whole trail to a file, one entry a line.

    \b
    Example: flyball audit export -o audit.jsonl
    """
    from flyball.cli.connection import open_home

    with open_home(environment) as app:
        count = app.audit_export(output)
    show(
        {"file": output, "entries": count},
        as_json,
        lambda done: click.echo(f"{done['entries']} entries written to {done['file']}"),
    )
