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
        author = author_of(conn, version)
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


def author_of(conn: Any, version: Any) -> str | None:
    """Id of who asked for the run that made the version, here or in the home that it was carried over from."""
    from flyball.pipelines.runs import find_run

    run = None if version.run_id is None else find_run(conn, version.run_id)
    known: dict[str, Any] = {} if run is None else run.request["actor"]
    origin: dict[str, Any] = version.lineage.get("origin") or {}
    author: str | None = origin.get("author_id") if run is None else known.get("id")
    return author
