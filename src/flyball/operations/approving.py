"""A person's yes or no about a version, bound to its digest; the author's own does not count."""

from __future__ import annotations

from typing import Any

from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.operations.opening import Backends


def answer(backends: Backends, ref: ModelRef, *, approves: bool, why: str, actor: Actor) -> dict[str, Any]:
    """The recorded answer. Raises OwnApproval for the version's author, NotAPerson, BadInput without a reason.

    An author who rejected the version takes that back by a yes, which counts for nothing else.
    """
    from flyball.delivery.approvals import subject_of
    from flyball.governance.approvals import approve, list_standing, reject, withdraw
    from flyball.registry.versions import resolve

    now = backends.clock.now()
    with backends.database.write() as conn:
        version = resolve(conn, ref)
        given: dict[str, Any] = {
            "subject": subject_of(version.model, version.number),
            "digest": version.digest,
            "actor": actor,
            "why": why,
            "now": now,
            "model": version.model,
        }
        author = _author_id(conn, version)
        standing = list_standing(conn, given["subject"], version.digest)
        if not approves:
            done = reject(conn, **given)
        elif actor.id == author and any(said.actor_id == author for said in standing):
            done = withdraw(conn, **given)
        else:
            done = approve(conn, author_id=author, **given)
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
