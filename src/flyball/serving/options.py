"""What a model server is told: where it listens, what it serves, and the settings of its environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput, Refused
from flyball.core.settings import Settings

SPEC_VARIABLE = "FLYBALL_WORKER_SPEC"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a server runs. `models`: only these; None: every model with a published route."""

    host: str = "127.0.0.1"
    port: int = 8081
    workers: int = 1
    models: list[str] | None = None
    poll_seconds: float = 0.2
    segment_seconds: float = 0.5
    candidate_deadline_seconds: float = 2.0
    hang_seconds: float = 30.0
    host_names: frozenset[str] | None = LOOPBACK_NAMES


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a worker or the shipper."""

    home: str
    objects_url: str
    server: str
    slot: int
    parent: int
    options: ServeOptions
    watchdog_descriptor: int | None = None  # where a worker says that its loop turns
    final: bool = False  # the shipper: ship what is left, once
    connection: int | None = None  # a worker's one connection in place of a port, as a descriptor

    @property
    def home_folder(self) -> Path:
        """The home."""
        return Path(self.home)


def read_options(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    host: str,
    port: int,
    workers: int,
    models: list[str] | None,
) -> ServeOptions:
    """The options of a server. Raises BadInput for a bad number, Refused for an open port nobody asked for.

    FLYBALL_ROUTE_POLL_SECONDS, FLYBALL_SEGMENT_SECONDS: seconds, shorter defaults where objects are local files.
    FLYBALL_CANDIDATE_DEADLINE_SECONDS: how long a canary may take before the champion answers instead.
    FLYBALL_WORKER_HANG_SECONDS: how long a worker's event loop may be stuck before the worker is replaced.
    FLYBALL_SERVE_ANONYMOUS=1 permits a host other than loopback; FLYBALL_SERVE_HOSTS lists further host names.
    """
    if workers < 1 or workers > 256:
        raise BadInput(f"{workers} workers; choose 1 to 256", workers=workers)
    if not 0 <= port <= 65535:
        raise BadInput(f"{port} is no port; choose 1 to 65535, or 0 for any free one", port=port)
    local = is_loopback(host)
    if not local and environment.get("FLYBALL_SERVE_ANONYMOUS") != "1":
        raise Refused(
            f"{host} can be reached from other machines, and this model server asks nobody who they are; keep it on "
            "127.0.0.1 behind a proxy that does, or say FLYBALL_SERVE_ANONYMOUS=1",
            host=host,
        )
    near = settings.objects_url.startswith("file://")
    return ServeOptions(
        host=host,
        port=port,
        workers=workers,
        models=models or None,
        poll_seconds=_seconds(environment, "FLYBALL_ROUTE_POLL_SECONDS", 0.2 if near else 1.0),
        segment_seconds=_seconds(environment, "FLYBALL_SEGMENT_SECONDS", 0.5 if near else 5.0),
        candidate_deadline_seconds=_seconds(environment, "FLYBALL_CANDIDATE_DEADLINE_SECONDS", 2.0),
        hang_seconds=_seconds(environment, "FLYBALL_WORKER_HANG_SECONDS", 30.0, least=1.0),
        host_names=_host_names(environment, host, local),
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_names(environment: Mapping[str, str], host: str, local: bool) -> frozenset[str] | None:
    named = {
        name.strip().lower() for name in environment.get("FLYBALL_SERVE_HOSTS", "").split(",") if name.strip()
    }
    if local:
        # A page of another site can point its own name at 127.0.0.1; only our own names are answered.
        return LOOPBACK_NAMES | {host} | named
    return frozenset(named | LOOPBACK_NAMES | {host}) if named else None


def _seconds(environment: Mapping[str, str], name: str, default: float, least: float = 0.01) -> float:
    given = environment.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not least <= value <= 3600:
        raise BadInput(f"{name} is {given!r}; write seconds from {least:g} to 3600", setting=name)
    return value
