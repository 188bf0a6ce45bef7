"""`flyball models|versions|show|history|lineage`."""

from __future__ import annotations

from typing import Any

import click

from flyball.cli.output import facts, json_option, table
from flyball.cli.output import show as show_result


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List models with their champion. Example: flyball models"""
    from flyball.app import open_app

    with open_app() as app:
        show_result(
            app.list_models(),
            as_json,
            lambda items: table(
                ("model", "task", "champion", "versions", "owner"),
                [(m.name, m.task, m.champion, m.version_count, m.owner) for m in items],
            ),
        )


@click.command()
@click.argument("model")
@json_option
def versions(model: str, as_json: bool) -> None:
    """List the versions of MODEL, newest first. Example: flyball versions credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show_result(
            app.list_versions(model),
            as_json,
            lambda items: table(
                ("version", "state", "aliases", "created", "digest", "why"),
                [
                    (v.number, v.state, ", ".join(v.aliases), v.created_at, v.digest[:19], v.why)
                    for v in items
                ],
            ),
        )


@click.command()
@click.argument("ref")
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show MODEL[@REF] with its evidence. Example: flyball show credit-default@champion"""
    from flyball.app import open_app

    with open_app() as app:
        show_result(app.show_version(ref), as_json, _render_version)


def _render_version(found: Any) -> None:
    version = found["version"]
    facts(
        [
            ("model", version.model),
            ("version", version.number),
            ("state", version.state),
            ("digest", version.digest),
            ("created", version.created_at),
            ("run", version.run_id),
            ("snapshot", version.snapshot),
            ("source tree", version.source_tree),
            ("environment", version.environment),
            ("why", version.why),
        ]
    )
    click.echo()
    table(("evidence", "at", "what"), [(e["kind"], e["at"], e["summary"]) for e in found["evidence"]])


@click.command()
@click.argument("model")
@json_option
def history(model: str, as_json: bool) -> None:
    """Tell which version was champion when, who moved it, and why. Example: flyball history credit-default"""
    from flyball.app import open_app

    with open_app() as app:
        show_result(
            app.history(model),
            as_json,
            lambda items: table(
                ("at", "model time", "alias", "from", "to", "who", "why"),
                [(m.at, m.model_time, m.name, m.from_number, m.to_number, m.actor, m.why) for m in items],
            ),
        )


@click.command()
@click.argument("target")
@json_option
def lineage(target: str, as_json: bool) -> None:
    """Trace MODEL@REF or a prediction id back to its data. Example: flyball lineage prd_0199…"""
    from flyball.app import open_app

    with open_app() as app:
        show_result(app.lineage(target), as_json, lambda items: facts((i["what"], i["name"]) for i in items))
