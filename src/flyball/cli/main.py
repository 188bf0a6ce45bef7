"""The `flyball` command: a lazy group, so that help loads no command and a command loads only its own needs."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flyball.core.errors import FlyballError

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Start here": {
        "init": ("flyball.cli.project:init", "Write a project that runs at once"),
        "check": (
            "flyball.cli.project:check",
            "Check file, data, contract and training entry, without training",
        ),
        "run": ("flyball.cli.runs:run", "Snapshot, check, train, evaluate, package, gate, register"),
        "up": ("flyball.cli.servers:up", "Everything on this machine: console, workflows, model servers"),
        "predict": ("flyball.cli.predictions:predict", "Ask the model server for predictions"),
        "deploy": ("flyball.cli.delivery:deploy", "Start a rollout of a version"),
        "rollback": ("flyball.cli.delivery:rollback", "Go back to the previous champion"),
        "why": ("flyball.cli.state:why", "How a model stands and why, in a paragraph"),
    },
    "Models and runs": {
        "test": ("flyball.cli.testing:test", "The project's own tests and its model tests"),
        "ci": ("flyball.cli.ci:ci", "Check a change: tests, gates, champion and base compared, one report"),
        "runs": ("flyball.cli.runs:runs", "List runs; show one, or its log"),
        "models": ("flyball.cli.models:models", "List models"),
        "versions": ("flyball.cli.models:versions", "List the versions of a model"),
        "show": ("flyball.cli.models:show", "A version with its evidence"),
        "history": ("flyball.cli.models:history", "Which version was champion when, and who moved it"),
        "lineage": ("flyball.cli.models:lineage", "From a prediction or version to its data"),
        "contract": ("flyball.cli.project:contract", "Infer or check what the data must satisfy"),
        "schema": ("flyball.cli.project:schema", "JSON Schema of the project file"),
    },
    "In service": {
        "serve": ("flyball.cli.servers:serve", "A model server only (data plane)"),
        "score": (
            "flyball.cli.predictions:score",
            "Predict every row of a file, folder or table into a file",
        ),
        "rollout": ("flyball.cli.delivery:rollout", "Status of a rollout; pause, resume, promote, abort"),
        "plan": ("flyball.cli.planning:plan", "What deployments files would change, and why"),
        "apply": ("flyball.cli.planning:apply", "Bring environments to what deployments files say"),
        "outcomes": ("flyball.cli.predictions:outcomes", "Add what really happened"),
        "replay": ("flyball.cli.predictions:replay", "The same input through the same version, compared"),
        "monitor": ("flyball.cli.monitoring:monitor", "Analyse closed windows now; the state of every check"),
        "signals": ("flyball.cli.monitoring:signals", "List alarms"),
        "incidents": ("flyball.cli.monitoring:incidents", "List incidents; show one"),
        "retrain": ("flyball.cli.monitoring:retrain", "Train a candidate on recent data now"),
    },
    "Governance and upkeep": {
        "approve": ("flyball.cli.approvals:approve", "A person's yes about a version"),
        "reject": ("flyball.cli.approvals:reject", "A person's no about a version"),
        "audit": ("flyball.cli.governance:audit", "The audit trail: log, verify, export"),
        "status": ("flyball.cli.state:status", "What runs, and where state lives"),
        "doctor": ("flyball.cli.state:doctor", "Look for anything broken; say how to mend it"),
        "migrate": ("flyball.cli.state:migrate", "Bring the database to this release's schema"),
    },
}


# `flyball run show RUN` reads better than `flyball runs show RUN`, and is the same.
RUN_VERBS = ("show", "logs", "cancel")


class LazyGroup(click.Group):
    """A group that knows its commands' one-line helps by heart and imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for group in COMMANDS.values():
            if cmd_name in group:
                module, _, attribute = group[cmd_name][0].partition(":")
                command: click.Command = getattr(importlib.import_module(module), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[:1] == ["run"] and args[1:2] and args[1] in RUN_VERBS:
            args = ["runs", *args[1:]]
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `flyball --help` lists them"
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in group.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="flyball", prog_name="flyball")
def flyball() -> None:
    """MLOps as one closed loop: train, gate, roll out, watch, retrain or roll back, with evidence for every step.

    \b
    flyball init shop --data orders.csv --target returned    a project that runs at once
    flyball run                                              a version, tested and registered
    flyball up                                               serve it, watch it, keep it right
    """


def main() -> None:
    """Run the command line. Exit codes: 0 yes, 1 no, 2 wrong use or bad input, 3 broke, 4 not enough evidence yet."""
    from flyball.core.errors import FlyballError

    try:
        code = flyball.main(standalone_mode=False, prog_name="flyball")
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _report_use(error)
        sys.exit(2)
    except FlyballError as error:
        if os.environ.get("FLYBALL_DEBUG") == "1":
            raise
        sys.exit(_report(error))
    except BrokenPipeError:
        # The reader of our output went away (`flyball runs | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        # The edge: anything unforeseen is our fault, told in one line, with the way to the traceback.
        if os.environ.get("FLYBALL_DEBUG") == "1":
            raise
        sys.exit(_report_defect(error))
    sys.exit(code if isinstance(code, int) else 0)


def _report_use(error: click.ClickException) -> None:
    from flyball.cli.output import printable

    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().rstrip("\n").split("\n"):
        click.echo(printable(line), err=True)  # it may repeat the name of a file


def _report(error: FlyballError) -> int:
    from flyball.cli.advice import in_environment
    from flyball.cli.output import exit_code, progress

    message = in_environment(error.message, error.environment, flyball)
    for line in f"error: {message}".split("\n"):
        progress(line)  # it may repeat what others wrote
    return exit_code(error)


def _report_defect(error: Exception) -> int:
    from flyball.cli.output import progress

    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("flyball"):
        click.echo(
            f"error: this needs {error.name}, which is not installed: pip install 'flyball[standard,boost]'. The bare "
            "package talks to a control plane only (FLYBALL_URL)",
            err=True,
        )
        return 2
    if isinstance(error, PermissionError | IsADirectoryError | FileExistsError):
        progress(f"error: {error.filename or 'a file'}: {error.strerror}")
        return 2
    progress(f"flyball broke: {type(error).__name__}: {error} (FLYBALL_DEBUG=1 shows where)")
    return 3
