"""What somebody with the database in hand deletes from the audit trail, and what `flyball audit verify` says then."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Verify = Callable[..., Any]
EMPTY = ("DELETE FROM audit_entries", "DELETE FROM audit_chain")


@pytest.fixture(scope="module")
def whole_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three versions, one of them in service, and an incident."""
    home = tmp_path_factory.mktemp("trail") / "home"
    sys.modules["flyball_tests_control"].seed(home)
    return home


@pytest.fixture
def tampered(
    whole_home: Path, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Verify]:
    """Runs SQL on a copy of the home, then `flyball audit verify`."""
    home = Path(shutil.copytree(whole_home, tmp_path / "home"))
    monkeypatch.setenv("FLYBALL_HOME", str(home))

    def run(*statements: str) -> Any:
        with closing(sqlite3.connect(home / "flyball.db")) as conn, conn:
            for statement in statements:
                conn.execute(statement)
        return command("audit", "verify")

    yield run


def cut(last: int) -> tuple[str, ...]:
    """Take the entries behind `last` away, and have the chain end there as if they had never been."""
    return (
        f"DELETE FROM audit_entries WHERE number > {last}",
        f"UPDATE audit_chain SET number = {last}, digest = (SELECT digest FROM audit_entries WHERE number = {last})",
    )


def test_a_trail_that_nobody_touched_holds(tampered: Verify):
    said = tampered()
    assert said.code == 0 and "the chain holds" in said.out


def test_an_emptied_trail_is_told_by_the_events_that_were_written_with_it(tampered: Verify):
    said = tampered(*EMPTY)
    assert said.code == 1
    assert (
        "broken at entry 1" in said.out
        and "event 1 (model.created of model:bike-demand) has no entry" in said.out
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("models", "model:bike-demand: 1 in models, 0 model.created"),
        ("versions", "version:bike-demand@1: 1 in versions, 0 version.registered"),
        ("deployments", "deployment:bike-demand: 1 in deployments, 0 deployment.changed"),
        ("alias_history", "alias:bike-demand@champion: 1 in alias_history, 0 alias.moved"),
        ("evidence", "version:bike-demand@1: 2 in evidence, 0 evidence.added"),
        ("incidents", "in incidents, 0 incident.opened"),
    ],
)
def test_with_the_events_gone_too_each_other_table_tells_of_the_missing_entries(
    tampered: Verify, table: str, words: str
):
    others = {"models", "versions", "deployments", "alias_history", "evidence", "incidents"} - {table}
    said = tampered(*EMPTY, "DELETE FROM events", *(f"DELETE FROM {other}" for other in sorted(others)))
    assert said.code == 1 and words in said.out


def test_entries_taken_from_the_end_with_the_count_of_them_are_told(tampered: Verify):
    said = tampered(*cut(6))
    assert said.code == 1
    assert "broken at entry 7" in said.out and "event 7 " in said.out


def test_one_deployment_more_than_its_entries_say_is_told(tampered: Verify):
    columns = "model, champion, share, salt, project, contract, why, actor, created_at"
    said = tampered(
        f"INSERT INTO deployments (revision, {columns}) SELECT revision + 1, {columns} FROM deployments"
    )
    assert said.code == 1
    assert "deployment:bike-demand: 2 in deployments, 1 deployment.changed" in said.out


def test_an_event_that_says_something_else_than_its_entry_is_told(tampered: Verify):
    said = tampered("""UPDATE events SET facts = '{"model":"bike-demand"}' WHERE number = 3""")
    assert said.code == 1 and "is not what entry 3 says" in said.out


def test_a_consumer_that_has_read_further_than_the_trail_goes_is_told(tampered: Verify):
    said = tampered(
        *EMPTY,
        *(f"DELETE FROM {name}" for name in ("events", "models", "versions", "deployments", "alias_history")),
        "DELETE FROM evidence",
        "DELETE FROM incidents",
        "INSERT INTO event_consumers VALUES ('retraining', 12, 0, '2026-11-21T12:00:00.000000Z')",
    )
    assert said.code == 1 and "retraining has read up to entry 12" in said.out
