"""`flyball up` and `flyball serve`."""

from __future__ import annotations

import sys

import click

from flyball.cli.output import progress


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; loopback unless access is set up.",
)
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Console and API."
)
@click.option(
    "--serve-port", default=8081, show_default=True, type=click.IntRange(1, 65535), help="Model server."
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer."
)
def up(host: str, port: int, serve_port: int, workers: int) -> None:
    """Run everything on this machine: console and API, workflows, model servers. Ctrl-C stops it.

    \b
    Example: flyball up --port 8080 --serve-port 8081
    """
    from flyball.app import check_bind
    from flyball.cli.connection import tell_home
    from flyball.core.settings import read_settings
    from flyball.operations.supervise import Supervisor, UpSettings

    check_bind(host)
    tell_home()
    up_settings = UpSettings(host=host, port=port, serve_port=serve_port, workers=workers)
    sys.exit(Supervisor(read_settings(), up_settings, progress).run())


@click.command()
@click.argument("models", nargs=-1)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; loopback unless access is set up.",
)
@click.option(
    "--port", default=8081, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on."
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer."
)
def serve(models: tuple[str, ...], host: str, port: int, workers: int) -> None:
    """Run a model server only (data plane) for MODELS, or for every model with a published route.

    \b
    Example: flyball serve credit-default --port 8081 --workers 2
    """
    from flyball.app import check_bind
    from flyball.app import serve as serve_models

    check_bind(host)
    sys.exit(serve_models(host=host, port=port, workers=workers, models=list(models) or None))
