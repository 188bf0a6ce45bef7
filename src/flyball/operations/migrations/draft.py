"""Drafts the next migration from the difference between the migrations so far and the tables in the code.

    python -m flyball.operations.migrations.draft first_tables

Read the draft before it is committed: Alembic sees renamed columns as dropped and added ones.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

import flyball
from flyball.backends.db.database import open_database
from flyball.backends.db.metadata import metadata
from flyball.backends.db.migrate import list_revisions, migrate
from flyball.operations.migrations.location import SCRIPTS

# The packages that own tables; everything above them only asks.
_OWNERS = (
    "backends.db",
    "governance",
    "data",
    "registry",
    "pipelines",
    "monitoring",
    "delivery",
    "retraining",
)


def load_tables() -> list[str]:
    """Import every module that could define tables; the names of all tables."""
    for owner in _OWNERS:
        package = importlib.import_module(f"flyball.{owner}")
        for module in pkgutil.walk_packages(package.__path__, f"flyball.{owner}."):
            # Modules named __main__ run something, and formats load machine-learning libraries.
            if "__main__" not in module.name and ".formats" not in module.name:
                importlib.import_module(module.name)
    return sorted(metadata.tables)


def differences() -> list[object]:
    """What the migrations lack (or have too much) beside the tables in the code; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    load_tables()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/draft.db")
        migrate(database, SCRIPTS)
        with database.write() as conn:
            found = compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)
        database.close()
    return list(found)


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
    return SCRIPTS / "versions" / f"m{number}_{name}.py"


if __name__ == "__main__":
    sys.stdout.write(f"{draft(sys.argv[1]).relative_to(Path(flyball.__file__).parent)}\n")
