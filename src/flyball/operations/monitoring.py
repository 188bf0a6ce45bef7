"""`flyball monitor`: analyse what is due and tell the state of every check."""

from __future__ import annotations

from typing import Any

from flyball.operations.opening import Backends
from flyball.operations.overview import list_models, window_line

RECENT_WINDOWS = 8


def check_now(backends: Backends, model: str | None) -> list[dict[str, Any]]:
    """The state of every check, after a turn of the analysis when no controller is at work."""
    from flyball.backends.db.lease import open_lease
    from flyball.operations.turn import LEASE, take_turn

    lease = open_lease(backends.database, backends.settings.home, LEASE)
    if lease.try_acquire():
        try:
            take_turn(backends.fenced(lease.assert_held), backends.clock.now())
        finally:
            lease.release()
    return describe_checks(backends, model)


def describe_checks(backends: Backends, model: str | None) -> list[dict[str, Any]]:
    """The newest judged windows of one model or of all. Raises ModelNotFound."""
    from flyball.monitoring.windows import list_windows
    from flyball.registry.models import get_model

    with backends.database.read() as conn:
        if model is not None:
            get_model(conn, model)
        names = [model] if model else [summary.name for summary in list_models(backends)]
        described = []
        for name in names:
            windows = list_windows(conn, name, limit=RECENT_WINDOWS)
            summary = f"{len(windows)} newest windows" if windows else "no window has been judged yet"
            described.append(
                {"model": name, "summary": summary, "windows": [window_line(w) for w in windows]}
            )
    return described
