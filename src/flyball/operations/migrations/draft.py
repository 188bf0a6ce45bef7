"""Drafts the next migration from the difference between the migrations so far and the tables in the code.

    python -m flyball.operations.migrations.draft first_tables

Read the draft before it is committed: Alembic sees renamed columns as dropped and added ones.
"""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from pathlib import Path

import flyball
from flyball.backends.db.database import Database, open_database
from flyball.backends.db.metadata import metadata
from flyball.backends.db.migrate import list_revisions, migrate
from flyball.operations.migrations.location import SCRIPTS

_ROOT = Path(flyball.__file__).parent
# What is below a package cannot know which modules above it hold tables; their source says so.
_HOLDS_TABLES = re.compile(r"^\w+ = Table\(", re.MULTILINE)


def load_tables() -> list[str]:
    """Import every module that defines tables; the names of all tables."""
    for path in sorted(_ROOT.rglob("*.py")):
        if _HOLDS_TABLES.search(path.read_text(encoding="utf-8")):
            importlib.import_module(".".join(("flyball", *path.relative_to(_ROOT).with_suffix("").parts)))
    return sorted(metadata.tables)


def differences(database: Database) -> list[object]:
    """What a migrated database lacks, or has too much, beside the tables in the code; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    load_tables()
    with database.write() as conn:
        options = {"compare_type": True, "include_object": _is_ours}
        return list(compare_metadata(MigrationContext.configure(conn, opts=options), metadata))


def _is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    # Tests define tables of their own in the same metadata.
    return not (kind == "table" and (name or "").startswith("test_"))


def draft(name: str) -> Path:
    """Write the next migration; its path."""
    from alembic import command
    from alembic.config import Config

    load_tables()
    number = f"{int(max(list_revisions(SCRIPTS), default='0')) + 1:04d}"
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("file_template", "m%%(rev)s_%%(slug)s")
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/draft.db")
        migrate(database, SCRIPTS)
        with database.write() as conn:
            config.attributes["connection"] = conn
            command.revision(config, message=name, rev_id=number, autogenerate=True)
        database.close()
    path = SCRIPTS / "versions" / f"m{number}_{name}.py"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "# ###" not in line), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{draft(sys.argv[1]).relative_to(_ROOT)}\n")
