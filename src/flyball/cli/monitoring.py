"""`flyball monitor|signals|incidents|retrain`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flyball.cli.environment import environment_option
from flyball.cli.output import (
    facts,
    json_option,
    key_option,
    moment,
    printable,
    progress,
    show,
    table,
    timeout_option,
)

EXIT_CODES = {"alarm": 1, "not enough rows": 4, "nothing found": 0}


@click.command()
@click.argument("model", required=False)
@key_option
@click.option(
    "--wait", is_flag=True, help="Until every closed window is judged; the exit code says what was found."
)
@timeout_option
@environment_option
@json_option
def monitor(
    model: str | None,
    key: str | None,
    wait: bool,
    timeout: float | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Analyse closed windows now and print the state of every check.

    With --wait or --key the exit code tells it: 0 nothing found, 1 an incident is open or a check alarmed since it was
    asked, 4 the newest window has too few rows, or there is none; of several models, the first of 1, 4 and 0. An answer
    is kept under its key for a week.

    \b
    Examples: flyball monitor credit-default
              flyball monitor credit-default --wait --key nightly-2026-11-21
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        if not wait and key is None:
            show(app.monitor(model), as_json, _render_checks)
            return
        given = {} if timeout is None else {"timeout_seconds": timeout}
        found = app.check_and_wait(model, key=key, **given)
        show(found, as_json, _render_checks)
    verdicts = {item["verdict"] for item in found}
    sys.exit(next((code for verdict, code in EXIT_CODES.items() if verdict in verdicts), 4))


def _render_checks(found: Any) -> None:
    for item in found:
        click.echo(f"{item['model']}: {printable(item['summary'])}")
        click.echo(f"{item['verdict']}: {printable(item['because'])}")
        if item["windows"]:
            table(
                ("window", "rows", "labelled", "error", "reference", "state"),
                [
                    (moment(w["start"]), w["rows"], w["labelled"], w["loss"], w["reference"], w["state"])
                    for w in item["windows"]
                ],
            )
    if not found:
        click.echo("(no model)")


@click.command()
@click.argument("model", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@environment_option
@json_option
def signals(model: str | None, limit: int, environment: str | None, as_json: bool) -> None:
    """List alarms, newest first.

    \b
    Example: flyball signals credit-default
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(
            app.list_signals(model, limit),
            as_json,
            lambda items: table(
                ("signal", "model", "kind", "since", "cause", "what"),
                [(s.id, s.model, s.kind, s.window_start, s.cause, s.sentence) for s in items],
            ),
        )


@click.group(invoke_without_command=True)
@click.option("--model", default=None, help="Only those of this model.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@environment_option
@json_option
@click.pass_context
def incidents(
    context: click.Context, model: str | None, limit: int, environment: str | None, as_json: bool
) -> None:
    """List incidents, newest first; `incidents show ID` tells one.

    \b
    Example: flyball incidents
    """
    if context.invoked_subcommand is not None:
        return
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(
            app.list_incidents(model, limit),
            as_json,
            lambda items: table(
                ("incident", "model", "state", "opened", "resolved", "title"),
                [(i.id, i.model, i.state, i.opened_at, i.resolved_at, i.title) for i in items],
            ),
        )


@incidents.command("show")
@click.argument("incident_id", metavar="INCIDENT")
@environment_option
@json_option
def show_incident(incident_id: str, environment: str | None, as_json: bool) -> None:
    """Show one incident with its timeline.

    \b
    Example: flyball incidents show inc_0199…
    """
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        show(app.get_incident(incident_id), as_json, _render_incident)


def _render_incident(found: Any) -> None:
    incident, entries = found["incident"], found["entries"]
    facts(
        [
            ("incident", incident.id),
            ("model", incident.model),
            ("state", incident.state),
            ("title", incident.title),
            ("cause", incident.cause),
            ("opened", incident.opened_at),
            ("resolved", incident.resolved_at),
        ]
    )
    click.echo()
    table(("model time", "kind", "what"), [(e.model_time, e.kind, e.text) for e in entries])


@click.command()
@click.argument("model")
@click.option("--why", default="asked for by hand", show_default=True, help="Recorded with the retraining.")
@key_option
@click.option("--wait", is_flag=True, help="Follow it to the candidate's verdict, whose exit code is given.")
@timeout_option
@environment_option
@json_option
def retrain(
    model: str,
    why: str,
    key: str | None,
    wait: bool,
    timeout: float | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Train a candidate for MODEL on recent data now; gates and rollout follow as after an alarm.

    A running `flyball up` does the work. With --wait this command does it where none runs, until the candidate has its
    verdict: exit code 0 registered or not needed, 1 refused by its gates, 3 failed, 4 gates had too little evidence.

    \b
    Examples: flyball retrain credit-default --why "new branch opened"
              flyball retrain credit-default --key nightly-2026-11-21 --wait --timeout 2h
    """
    from flyball.cli.advice import advised
    from flyball.cli.connection import open_flyball

    with open_flyball(environment) as app:
        asked = app.retrain(model, why=why, key=key)
        if not wait:
            told = "asked; a running `flyball up` trains, gates and rolls out the candidate"
            progress(advised(told, environment))
            show(asked, as_json, lambda r: facts(r.items()))
            return
        from flyball.cli.following import follow_retraining

        ended = follow_retraining(app, model, asked, progress, timeout)
        show(ended, as_json, _render_retraining)
    sys.exit(_exit_code_of(ended))


def _exit_code_of(retraining: dict[str, Any]) -> int:
    outcomes = {asked["outcome"] for asked in (*retraining["gates"], *retraining["tests"])}
    if retraining["state"] == "refused":
        return 4 if "inconclusive" in outcomes and "fail" not in outcomes else 1
    return 0 if retraining["state"] in ("ready", "kept") else 3


def _render_retraining(ended: dict[str, Any]) -> None:
    rollout = ended["rollout"]
    names = ("retraining", "state", "result", "version", "run", "because")
    facts([(name, ended[name]) for name in names])
    for gate in ended["gates"]:
        click.echo(printable(f"gate {gate['metric']}: {gate['outcome']} ({gate['because']})"))
    if rollout is not None:
        because = f": {rollout['because']}" if rollout["because"] else ""
        click.echo(printable(f"its rollout is {rollout['state']}{because}"))
