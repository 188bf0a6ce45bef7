"""One suite for approvals on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flyball.backends.db.database import Database
from flyball.core.digests import digest_bytes
from flyball.core.errors import BadInput, NotAPerson, OwnApproval
from flyball.core.values import Actor
from flyball.governance.actors import SYSTEM
from flyball.governance.approvals import approve, count_approvals, list_approvals, reject
from flyball.governance.journal import list_entries

NOW = datetime(2026, 4, 1, tzinfo=UTC)
ANN, BOB, CAT = (Actor(name, "person", f"usr_{name}") for name in ("ann", "bob", "cat"))
DIGEST, OTHER = digest_bytes(b"version 3"), digest_bytes(b"version 3, retrained")
SUBJECT = "version:bike@3"


def test_approvals_count_people_and_hold_for_one_digest_only(database: Database) -> None:
    with database.write() as conn:
        for actor in (BOB, CAT, BOB):
            approve(
                conn, subject=SUBJECT, digest=DIGEST, actor=actor, author_id=ANN.id, why="read it", now=NOW
            )
        assert count_approvals(conn, SUBJECT, DIGEST) == 2
        assert count_approvals(conn, SUBJECT, OTHER) == 0
        assert count_approvals(conn, "version:credit@3", DIGEST) == 0
        assert len(list_approvals(conn, DIGEST)) == 3
        assert {entry.action for entry in list_entries(conn)} == {"approval.given"}


def test_a_rejection_stands_until_the_same_person_approves(database: Database) -> None:
    with database.write() as conn:
        approve(conn, subject=SUBJECT, digest=DIGEST, actor=BOB, author_id=ANN.id, why="fine", now=NOW)
        reject(conn, subject=SUBJECT, digest=DIGEST, actor=CAT, why="slices", now=NOW)
        assert count_approvals(conn, SUBJECT, DIGEST) == 0
        approve(conn, subject=SUBJECT, digest=DIGEST, actor=CAT, author_id=ANN.id, why="explained", now=NOW)
        assert count_approvals(conn, SUBJECT, DIGEST) == 2


def test_nobody_approves_their_own_work_not_even_under_another_name(database: Database) -> None:
    renamed = Actor("somebody else", "person", ANN.id)
    with pytest.raises(OwnApproval), database.write() as conn:
        approve(conn, subject=SUBJECT, digest=DIGEST, actor=renamed, author_id=ANN.id, why="mine", now=NOW)


@pytest.mark.parametrize("actor", [SYSTEM, Actor("ci", "service", "svc_1")])
def test_only_people_approve(database: Database, actor: Actor) -> None:
    with pytest.raises(NotAPerson), database.write() as conn:
        approve(conn, subject=SUBJECT, digest=DIGEST, actor=actor, author_id=ANN.id, why="green", now=NOW)
    with database.read() as conn:
        assert list_entries(conn) == []


def test_an_answer_needs_its_reason(database: Database) -> None:
    with pytest.raises(BadInput, match="reason"), database.write() as conn:
        approve(conn, subject=SUBJECT, digest=DIGEST, actor=BOB, author_id=ANN.id, why="  ", now=NOW)
