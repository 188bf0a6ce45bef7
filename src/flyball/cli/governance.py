"""`flyball audit log|verify|export`."""

from __future__ import annotations

import sys

import click

from flyball.cli.output import facts, json_option, show, table


@click.group()
def audit() -> None:
    """The hash-chained record of who did what to what, when and why."""


@audit.command()
@click.option("--model", default=None)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10000))
@json_option
def log(model: str | None, limit: int, as_json: bool) -> None:
    """Print the newest entries. Example: flyball audit log --model credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show(
            app.audit_log(model, limit),
            as_json,
            lambda items: table(
                ("number", "at", "who", "action", "subject", "why"),
                [(e.number, e.at, _who(e.actor), e.action, e.subject, e.why) for e in items],
            ),
        )


def _who(actor: object) -> str:
    return str(getattr(actor, "name", actor))


@audit.command()
@click.option(
    "--head", default=None, metavar="NUMBER:DIGEST", help="A head noted earlier: finds truncation too."
)
@json_option
def verify(head: str | None, as_json: bool) -> None:
    """Check every entry against the chain; exit code 1 when one was changed, removed or moved.

    \b
    Example: flyball audit verify --head 120:sha256:1f9a…
    """
    from flyball.app import open_app

    with open_app() as app:
        result = app.audit_verify(head)
        show(result, as_json, lambda r: facts((f, getattr(r, f, None)) for f in r.__struct_fields__))
    sys.exit(0 if result.ok else 1)


@audit.command()
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False, writable=True))
def export(output: str) -> None:
    """Write the whole trail to a file, one entry a line. Example: flyball audit export -o audit.jsonl"""
    from flyball.app import open_app

    with open_app() as app:
        count = app.audit_export(output)
    click.echo(f"{count} entries written to {output}")
