"""`flyball up` and `flyball serve`."""

from __future__ import annotations

import sys

import click

from flyball.cli.environment import enter, environment_option
from flyball.cli.output import progress

CONTROL_PORT = 8080
SERVE_PORT = 8081


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; loopback unless access is set up.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Console and API; default: 8080.")
@click.option("--serve-port", type=click.IntRange(1, 65535), help="Model server; default: 8081.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer."
)
@environment_option
def up(host: str, port: int | None, serve_port: int | None, workers: int, environment: str | None) -> None:
    """Run everything on this machine: console and API, workflows, model servers. Ctrl-C stops it.

    With --env it runs that environment's processes, on ports of their own: 8090 and 8091 for the first one of the file,
    8100 and 8101 for the second, and so on.

    \b
    Examples: flyball up --port 8080 --serve-port 8081
              flyball up --env staging
    """
    from flyball.app import check_bind
    from flyball.cli.connection import tell_home
    from flyball.core.settings import read_settings
    from flyball.operations.supervise import Supervisor, UpSettings

    check_bind(host)
    tell_home()
    shift = 0 if environment is None else 10 * (1 + enter(environment))
    up_settings = UpSettings(
        host=host,
        port=port or CONTROL_PORT + shift,
        serve_port=serve_port or SERVE_PORT + shift,
        workers=workers,
    )
    sys.exit(Supervisor(read_settings(), up_settings, progress).run())


@click.command()
@click.argument("models", nargs=-1)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; loopback unless access is set up.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; default: 8081.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer."
)
@environment_option
def serve(
    models: tuple[str, ...], host: str, port: int | None, workers: int, environment: str | None
) -> None:
    """Run a model server only (data plane) for MODELS, or for every model with a published route.

    With --env it is that environment's, by default on the port that `flyball up --env` takes for it.

    \b
    Example: flyball serve credit-default --port 8081 --workers 2
    """
    from flyball.app import check_bind
    from flyball.app import serve as serve_models

    check_bind(host)
    shift = 0 if environment is None else 10 * (1 + enter(environment))
    port = port or SERVE_PORT + shift
    sys.exit(serve_models(host=host, port=port, workers=workers, models=list(models) or None))
