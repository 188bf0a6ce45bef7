"""The marks that applies leave in the audit trail, by which it can be told later what they did and what others did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flyball.core.values import Actor
from flyball.governance.journal import Change, list_entries, record
from flyball.operations.planning.files import DeploymentsFile

APPLIED = "deployment.applied"
FILE_APPLIED = "deployments.applied"


def mark_model(
    conn: Connection, file: DeploymentsFile, facts: dict[str, Any], *, actor: Actor, why: str, now: datetime
) -> None:
    """Keep what a file wanted of a model, in the transaction that does it.

    facts: `model`, the wanted `digest`, what was done (`kind`), the rollout that was begun, and `after`: the number of
    the last entry before the apply's own.
    """
    told = {**facts, "file": file.name, "file_digest": file.digest, "commit": file.commit}
    subject = f"deployment:{facts['model']}"
    record(
        conn, Change(actor=actor, action=APPLIED, subject=subject, why=why, facts=told, event=APPLIED), now
    )


def mark_file(
    conn: Connection,
    file: DeploymentsFile,
    models: dict[str, Any],
    *,
    is_news: bool,
    actor: Actor,
    why: str,
    now: datetime,
) -> None:
    """Keep that a file was applied and what came of each model, where that is news or the file is another."""
    subject = f"deployments:{file.name}"
    last = list_entries(conn, subject=subject, action=FILE_APPLIED, limit=1, newest_first=True)
    if last and last[0].facts["digest"] == file.digest and not is_news:
        return
    facts = {
        "file": file.name,
        "digest": file.digest,
        "commit": file.commit,
        "environment": file.environment,
        "models": models,
    }
    change = Change(
        actor=actor, action=FILE_APPLIED, subject=subject, why=why, facts=facts, event=FILE_APPLIED
    )
    record(conn, change, now)


def reason(file: DeploymentsFile, why: str) -> str:
    """What is recorded with every change that a file led to."""
    at = f" at {file.commit[:12]}" if file.commit else ""
    return f"{file.name}{at}: {why}" if why else f"{file.name}{at}"
