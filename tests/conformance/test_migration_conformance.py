"""One suite for migrations on SQLite and PostgreSQL, with migrations made up for it and with the real ones."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from flyball.backends.db.database import Database, open_database
from flyball.backends.db.metadata import metadata
from flyball.backends.db.migrate import list_revisions, migrate, stored_revision
from flyball.core.errors import Corrupt, NewerData
from flyball.operations.migrations import draft
from flyball.operations.migrations.location import SCRIPTS

FIRST = "op.create_table('pets', sa.Column('name', sa.String(20), primary_key=True))"
SECOND = "op.add_column('pets', sa.Column('age', sa.Integer()))"
HALF = "op.create_table('toys', sa.Column('name', sa.String(20)))\n    raise RuntimeError('power cut')"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    (folder / "versions").mkdir(parents=True)
    shutil.copy(SCRIPTS / "env.py", folder)
    return folder


@pytest.fixture
def empty(database_url: str) -> Database:
    return open_database(database_url)


def add(scripts: Path, number: int, body: str) -> None:
    before = f"{number - 1:04d}" if number > 1 else None
    text = (
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '{number:04d}'\n"
        f"down_revision = {before!r}\n\n\ndef upgrade():\n    {body}\n"
    )
    (scripts / "versions" / f"m{number:04d}_step.py").write_text(text)


def tables(database: Database) -> set[str]:
    with database.read() as conn:
        return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


def current_revision(database: Database) -> str | None:
    with database.read() as conn:
        return stored_revision(conn)


def test_a_fresh_database_is_brought_to_the_newest_revision_once(empty: Database, scripts: Path) -> None:
    add(scripts, 1, FIRST)
    add(scripts, 2, SECOND)
    assert current_revision(empty) is None
    assert migrate(empty, scripts) is True
    assert current_revision(empty) == list_revisions(scripts)[-1] == "0002"
    assert migrate(empty, scripts) is False
    assert tables(empty) == {"pets"}


def test_rows_survive_a_later_migration(empty: Database, scripts: Path) -> None:
    add(scripts, 1, FIRST)
    migrate(empty, scripts)
    with empty.write() as conn:
        conn.execute(sa.text("INSERT INTO pets (name) VALUES ('rex')"))
    add(scripts, 2, SECOND)
    migrate(empty, scripts)
    with empty.read() as conn:
        assert conn.execute(sa.text("SELECT name, age FROM pets")).all() == [("rex", None)]


def test_data_of_a_newer_program_are_refused_and_unharmed(empty: Database, scripts: Path) -> None:
    add(scripts, 1, FIRST)
    add(scripts, 2, SECOND)
    migrate(empty, scripts)
    (scripts / "versions" / "m0002_step.py").unlink()
    with pytest.raises(NewerData, match="newer Flyball"):
        migrate(empty, scripts)
    assert current_revision(empty) == "0002"


def test_a_revision_that_nobody_has_written_is_told_as_damage(empty: Database, scripts: Path) -> None:
    add(scripts, 1, FIRST)
    add(scripts, 3, SECOND)
    migrate_to = sa.text("UPDATE alembic_version SET version_num = '0002'")
    (scripts / "versions" / "m0003_step.py").write_text(
        (scripts / "versions" / "m0003_step.py").read_text().replace("'0002'", "'0001'")
    )
    migrate(empty, scripts)
    with empty.write() as conn:
        conn.execute(migrate_to)
    with pytest.raises(Corrupt, match="no Flyball has written"):
        migrate(empty, scripts)


def test_a_migration_that_fails_half_way_leaves_nothing_and_can_be_repeated(
    empty: Database, scripts: Path
) -> None:
    add(scripts, 1, FIRST)
    add(scripts, 2, HALF)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(empty, scripts)
    assert tables(empty) == set()
    assert current_revision(empty) is None
    add(scripts, 2, SECOND)
    assert migrate(empty, scripts) is True
    assert tables(empty) == {"pets"}


def test_a_backup_is_taken_before_data_are_migrated(scripts: Path, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/flyball.db")
    backups = tmp_path / "backups"
    add(scripts, 1, FIRST)
    migrate(database, scripts, backups)
    assert not backups.exists()
    with database.write() as conn:
        conn.execute(sa.text("INSERT INTO pets (name) VALUES ('rex')"))
    add(scripts, 2, SECOND)
    migrate(database, scripts, backups)
    [copy] = backups.iterdir()
    assert copy.name.startswith("before-migration-0001-")
    with sqlite3.connect(copy) as conn:
        assert conn.execute("SELECT * FROM pets").fetchall() == [("rex",)]


def test_two_processes_that_migrate_at_once_both_succeed(
    database_url: str, empty: Database, scripts: Path, child_environment: dict[str, str]
) -> None:
    add(scripts, 1, FIRST + "\n    import time; time.sleep(0.3)")
    program = (
        "import sys; from pathlib import Path; from flyball.backends.db.database import open_database;"
        "from flyball.backends.db.migrate import migrate;"
        "print(migrate(open_database(sys.argv[1]), Path(sys.argv[2])))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, database_url, str(scripts)],
            stdout=subprocess.PIPE,
            env=child_environment,
            text=True,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in running)
    assert said == ["False", "True"]
    assert tables(empty) == {"pets"}


def test_the_migrations_make_exactly_the_tables_of_the_code(
    empty: Database,
) -> None:
    wanted = {name for name in draft.load_tables() if not name.startswith("test_")}
    migrate(empty, SCRIPTS)
    assert tables(empty) == wanted
    assert draft.differences(empty) == []


def test_checking_that_nothing_is_to_be_done_does_not_load_the_migration_library(
    scripts: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    add(scripts, 1, FIRST)
    url = f"sqlite:///{tmp_path}/flyball.db"
    migrate(open_database(url), scripts)
    program = (
        "import sys; from pathlib import Path; from flyball.backends.db.database import open_database;"
        "from flyball.backends.db.migrate import migrate;"
        "print(migrate(open_database(sys.argv[1]), Path(sys.argv[2])), 'alembic' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, url, str(scripts)],
        capture_output=True,
        env=child_environment,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["False", "False"]


def test_revisions_are_numbered_without_gaps() -> None:
    revisions = list_revisions(SCRIPTS)
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]
    assert "alembic_version" not in metadata.tables
