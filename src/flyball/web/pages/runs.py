"""Runs: all of them, and one with its steps and what it printed."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.response import Stream

from flyball.web.api.parameters import App, Cursor, InPath
from flyball.web.names import read_run
from flyball.web.pages.rendering import plain, respond
from flyball.web.paging import take_page

RUNS_A_PAGE = 50
LINES_SHOWN = 400


def runs_page(flyball: App, cursor: Cursor = None) -> Response[str]:
    """Runs of all models, newest first."""
    page = take_page(lambda count: flyball.list_runs(None, count), lambda run: run.id, RUNS_A_PAGE, cursor)
    runs = [plain(run) | {"seconds": _between(run.started_at, run.finished_at)} for run in page.items]
    return respond("runs.html", place="/runs", runs=runs, next=page.next)


def run_page(flyball: App, run_id: InPath) -> Response[str]:
    """One run. Raises RunNotFound."""
    name = read_run(run_id)
    found = flyball.get_run(name)
    run = found["run"]
    log = flyball.run_log(name, limit=LINES_SHOWN)
    return respond(
        "run.html",
        place="/runs",
        here=f"/runs/{name}",
        run=plain(run) | {"seconds": _between(run.started_at, run.finished_at)},
        steps=plain(found["steps"]),
        lines=log.lines,
        left_out=log.offset,
    )


def run_log_file(flyball: App, run_id: InPath) -> Stream:
    """All that is kept of what a run printed, as a file: what others wrote is never shown as a page of ours."""
    name = read_run(run_id)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.txt"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Stream(flyball.run_log_file(name), media_type="text/plain; charset=utf-8", headers=headers)


def _between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - start).total_seconds()
