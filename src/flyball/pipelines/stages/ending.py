"""How a run ends: its row, its event and its audit entry in one transaction; its log kept as an object."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.backends.scratch import ScratchFolder
from flyball.core.clock import isoformat
from flyball.governance.journal import Change, record
from flyball.pipelines.request import RunRequest
from flyball.pipelines.run_log import LOG_NAME
from flyball.pipelines.runs import finish_run
from flyball.pipelines.stages.job import Job
from flyball.pipelines.workshop import Workshop


def end_run(
    conn: Connection,
    run_id: str,
    request: RunRequest,
    now: datetime,
    *,
    state: str,
    version: int | None = None,
    is_cached: bool = False,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
    log: str | None = None,
) -> bool:
    """End a running run, with event `run.finished` and audit entry; False if it had ended before."""
    values = {"version": version, "cached": is_cached, "result": result, "error": error, "log": log}
    if not finish_run(conn, run_id, state=state, finished_at=now, **values):
        return False
    change = Change(
        actor=request.actor,
        action="run.finished",
        subject=f"run:{run_id}",
        why=request.why,
        facts={
            "model": request.model,
            "run_id": run_id,
            "state": state,
            "version": version,
            "cached": is_cached,
            "signal_id": request.signal_id,
            "incident_id": request.incident_id,
            "decided_at": isoformat(request.decided_at) if request.decided_at else None,
            "snapshot": (result or {}).get("snapshot"),
            "error": error,
        },
        event="run.finished",
    )
    record(conn, change, now)
    return True


def fail_run(job: Job, code: str, message: str, facts: dict[str, Any]) -> None:
    """Note that a run failed, and why; nothing of it is registered."""
    job.bench.write_line(f"failed: {message}")
    error = {"code": code, "message": message, "facts": facts}
    log = keep_log(job.shop, job.run_id)
    now = job.shop.clock.now()
    with job.shop.database.write() as conn:
        end_run(conn, job.run_id, job.request, now, state="failed", error=error, log=log)
    job.bench.clear()
    job.shop.observe(job.run_id, "fail", "done")


def keep_log(shop: Workshop, run_id: str) -> str | None:
    """The run's log so far as an object; None if it printed nothing."""
    log = shop.bench(run_id).log
    if not log.exists():
        return None
    with ScratchFolder("log") as folder:
        whole = folder / LOG_NAME
        with whole.open("wb") as file:
            log.write_to(file)
        return shop.blobs.put_file(whole)
