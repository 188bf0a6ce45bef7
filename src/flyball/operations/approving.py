"""A person's yes or no about a version, bound to its digest; the author's own does not count."""

from __future__ import annotations

from typing import Any

from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.operations.opening import Backends


def answer(backends: Backends, ref: ModelRef, *, approves: bool, why: str, actor: Actor) -> dict[str, Any]:
    """The recorded answer. Raises OwnApproval for the version's author, NotAPerson, BadInput without a reason."""
    from flyball.governance.approvals import approve, reject
    from flyball.registry.versions import resolve

    now = backends.clock.now()
    with backends.database.write() as conn:
        version = resolve(conn, ref)
        given: dict[str, Any] = {
            "subject": f"version:{version.model}@{version.number}",
            "digest": version.digest,
            "actor": actor,
            "why": why,
            "now": now,
            "model": version.model,
        }
        done = (
            approve(conn, author_id=_author_id(conn, version), **given) if approves else reject(conn, **given)
        )
    return {
        "model": version.model,
        "version": version.number,
        "answer": done.answer,
        "by": done.actor_name,
        "why": why,
    }


def _author_id(conn: Any, version: Any) -> str | None:
    """Who asked for the run that made the version."""
    from flyball.pipelines.runs import find_run

    run = None if version.run_id is None else find_run(conn, version.run_id)
    return None if run is None else run.request["actor"].get("id")
