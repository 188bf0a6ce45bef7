"""`flyball models|versions|show|history|lineage`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import cell, facts, json_option, moment, short, table
from flyball.cli.output import show as show_result


@click.command()
@environment_option
@json_option
def models(environment: str | None, as_json: bool) -> None:
    """List models with their champion.

    \b
    Example: flyball models
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show_result(
            app.list_models(),
            as_json,
            lambda items: table(
                ("model", "task", "champion", "versions", "open incidents", "owner"),
                [(m.name, m.task, m.champion, m.version_count, m.open_incidents, m.owner) for m in items],
            ),
        )


@click.command()
@click.argument("model")
@environment_option
@json_option
def versions(model: str, environment: str | None, as_json: bool) -> None:
    """List the versions of MODEL, newest first.

    \b
    Example: flyball versions credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show_result(
            app.list_versions(model),
            as_json,
            lambda items: table(
                ("version", "state", "aliases", "created", "digest", "why"),
                [
                    (
                        v.number,
                        "rejected" if v.rejection else v.state,
                        v.aliases,
                        v.created_at,
                        short(v.digest),
                        v.why,
                    )
                    for v in items
                ],
            ),
        )


@click.command()
@click.argument("ref", metavar="MODEL[@REF]")
@environment_option
@json_option
def show(ref: str, environment: str | None, as_json: bool) -> None:
    """Show a version with its evidence. REF: number, digest prefix or alias; the champion without it.

    \b
    Example: flyball show credit-default@champion
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show_result(app.show_version(ref), as_json, _render_version)


def _render_version(found: Any) -> None:
    version = found["version"]
    facts(
        [
            ("version", f"{version.model}@{version.number}"),
            ("state", version.state),
            ("rejection", found["rejection"]),
            ("aliases", found["aliases"]),
            ("created", version.created_at),
            ("author", version.author),
            ("why", version.why),
            ("bundle", version.digest),
            ("run", version.run_id),
            ("data", version.snapshot),
            ("code", version.source_tree),
            ("environment", version.environment),
        ]
    )
    click.echo()
    table(("evidence", "at", "what"), [(e["kind"], moment(e["at"]), e["summary"]) for e in found["evidence"]])


@click.command()
@click.argument("model")
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Only what each alias pointed at by that moment (UTC, wall time).",
)  # fmt: skip
@environment_option
@json_option
def history(model: str, at: Any, environment: str | None, as_json: bool) -> None:
    """Tell which version was champion when, who moved it, and why.

    \b
    Example: flyball history credit-default --at 2026-03-01
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        moves = app.history(model)
        show_result(moves if at is None else _standing(moves, at), as_json, _render_moves)


def _standing(moves: list[Any], at: Any) -> list[Any]:
    """The last move of each alias up to a moment."""
    from datetime import UTC

    last = {move.name: move for move in moves if move.at <= at.replace(tzinfo=UTC)}
    return [move for move in last.values() if move.to_number is not None]


def _render_moves(moves: Any) -> None:
    table(
        ("at", "model time", "alias", "from", "to", "who", "why"),
        [(m.at, m.model_time, m.name, m.from_number, m.to_number, m.actor, m.why) for m in moves],
    )


@click.command()
@click.argument("target")
@environment_option
@json_option
def lineage(target: str, environment: str | None, as_json: bool) -> None:
    """Trace TARGET: a prediction id or MODEL@REF back to its data; a digest (of data, code, …) on to its versions.

    \b
    Examples: flyball lineage prd_0199…
              flyball lineage credit-default@champion
              flyball lineage sha256:88c7320d5af8
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show_result(
            app.lineage(target), as_json, lambda items: facts((i["what"], cell(i["name"])) for i in items)
        )
