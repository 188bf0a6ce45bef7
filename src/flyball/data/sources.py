"""Where rows come from: files, globs, folders, object stores, Delta tables, databases; all read into a frame."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyball.core.errors import BlobsUnavailable, NotFound, SourceUnreadable
from flyball.data.files import FORMATS, is_table_name, read_table

if TYPE_CHECKING:
    import polars as pl

_CLOUDS = ("s3", "gs", "az")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NOT_FOR_SOURCES = re.compile(
    r"FLYBALL_.*|ACTIONS_.*|(GITHUB|GH|GITLAB|CI|JENKINS|SYSTEM|AWS|AZURE|GOOGLE)_.*(TOKEN|SECRET|PASSWORD|KEY|CREDENTIALS)"
    "(_.*)?"
)
_GLOB = re.compile(r"[*?\[]")
_SECRET = re.compile(r"://[^/\s]*@")


def read_source(
    source: str,
    *,
    folder: Path,
    query: str | None = None,
    environment: Mapping[str, str] | None = None,
    texts: Collection[str] = (),
) -> pl.DataFrame:
    """All rows of a source, at least one.

    source: a path (relative to `folder`), glob, directory, `file://`, `s3://`, `gs://`, `az://`, a Delta table's
    folder, or a database URL with `query`. `${NAME}` in it is taken from the environment, for secrets (see `fill_in`).
    Files of several names are read in the order of their names and must have the same columns.
    texts: columns of CSV and TSV that are text whatever they look like.
    Raises SourceUnreadable, saying what is missing or broken and where.
    """
    environment = os.environ if environment is None else environment
    place = fill_in(source, environment)
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme in ("http", "https", "ftp"):
        raise SourceUnreadable(
            f"{describe_source(source)} is a web address; Flyball fetches none. Download the file, or put it into an "
            "object store (s3://…)"
        )
    if scheme and scheme != "file" and scheme not in _CLOUDS:
        frame = _read_database(place, source, query, folder)
    elif query is not None:
        raise SourceUnreadable(
            f"[data].query is for databases, and {describe_source(source)} is none; leave it out, or name a "
            "database URL such as postgresql://…"
        )
    elif scheme in _CLOUDS:
        frame = _read_cloud(place.rstrip("/"), source, texts)
    else:
        frame = _read_path(local_path(place, folder), source, texts)
    if frame.is_empty():
        raise SourceUnreadable(f"{describe_source(source)} holds no rows", source=describe_source(source))
    return frame


def describe_source(source: str) -> str:
    """The source, or another address, as it may be shown and stored: without user name and password.

    >>> describe_source("postgresql://ops:p@ss@db/sales")
    'postgresql://***@db/sales'
    """
    return _SECRET.sub("://***@", source)


def fill_in(source: str, environment: Mapping[str, str]) -> str:
    """A source with the values of the variables that it names.

    Raises SourceUnreadable for one that is not set, and for those that Flyball, code hosts and clouds keep their own
    keys in: who changes a project file must not have them sent to an address of their choice.
    """
    return _VARIABLE.sub(lambda match: _variable(match[1], environment), source)


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if _NOT_FOR_SOURCES.fullmatch(name):
        raise SourceUnreadable(
            f"[data].source asks for ${{{name}}}, which is not for sources: name a variable of its own for what the "
            "data need",
            name=name,
        )
    if name not in environment:
        raise SourceUnreadable(
            f"[data].source asks for ${{{name}}}, which is not set in the environment", name=name
        )
    return environment[name]


def list_files(path: Path, source: str, relative_to: str = "flyball.toml") -> list[tuple[str, Path]]:
    """The files that a local source stands for, with what errors call them. Raises SourceUnreadable for none."""
    if _GLOB.search(path.name) or any(_GLOB.search(part) for part in path.parts):
        anchor = Path(path.anchor)
        files = sorted(child for child in anchor.glob(str(path.relative_to(anchor))) if child.is_file())
        if not files:
            raise SourceUnreadable(f"no file matches {source}", source=source)
        return [(child.name, child) for child in files]
    if path.is_dir():
        files = sorted(child for child in path.iterdir() if is_table_name(child.name) and child.is_file())
        if not files:
            raise SourceUnreadable(
                f"the folder {source} holds no file that can be read ({FORMATS})", source=source
            )
        return [(child.name, child) for child in files]
    if not path.exists():
        raise SourceUnreadable(_missing(path, source, relative_to), source=source)
    if not path.is_file():
        # Opening a pipe waits for a writer, for ever if there is none.
        raise SourceUnreadable(f"{source} is no ordinary file but a pipe, socket or device", source=source)
    return [(source, path)]


def local_path(place: str, folder: Path) -> Path:
    """The path of a source without scheme, or with `file://`; a relative one lies in `folder`."""
    path = Path(place.removeprefix("file://")).expanduser()
    return path if path.is_absolute() else folder / path


def is_delta(path: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (path / "_delta_log").is_dir()


def _read_path(path: Path, source: str, texts: Collection[str]) -> pl.DataFrame:
    if is_delta(path):
        return _read_delta(path.resolve().as_uri())
    return _stack([(name, read_table(name, file, texts)) for name, file in list_files(path, source)])


def _missing(path: Path, source: str, relative_to: str) -> str:
    from difflib import get_close_matches

    beside = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, beside, n=1)
    if near:
        return f"there is no file {source}; did you mean {str(PurePosixPath(source).with_name(near[0]))!r}?"
    if not path.parent.is_dir():
        return (
            f"there is no file {source}, and no folder it could lie in; paths are relative to {relative_to}"
        )
    return f"there is no file {source}; paths are relative to {relative_to}"


def _read_cloud(place: str, source: str, texts: Collection[str]) -> pl.DataFrame:
    """One object, or all tables below a prefix, fetched through the object store's own port."""
    from flyball.backends.blobs.store import open_blobs

    prefix, _, name = place.rpartition("/")
    if is_table_name(name):
        try:
            data = open_blobs(prefix).get(name)
        except NotFound as error:
            raise SourceUnreadable(f"there is no object {describe_source(source)}") from error
        except BlobsUnavailable as error:
            raise SourceUnreadable(f"{describe_source(source)} can't be read: {error.message}") from error
        return read_table(name, data, texts)
    try:
        blobs = open_blobs(place)
        keys = blobs.list()
    except BlobsUnavailable as error:
        raise SourceUnreadable(f"{describe_source(source)} can't be read: {error.message}") from error
    if any(key.startswith("_delta_log/") for key in keys):
        return _read_delta(place)
    tables = [key for key in keys if is_table_name(key)]
    if not tables:
        raise SourceUnreadable(f"below {describe_source(source)} lies no file that can be read ({FORMATS})")
    return _stack([(key, read_table(key, blobs.get(key), texts)) for key in tables])


def _read_delta(url: str) -> pl.DataFrame:
    from flyball.backends.tables.delta import scan

    return scan(url).collect()


def _stack(frames: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    import polars as pl

    first_name, first = frames[0]
    for name, frame in frames[1:]:
        check_same_columns(first_name, first.columns, name, frame.columns)
    try:
        return pl.concat([frame.select(first.columns) for _, frame in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise SourceUnreadable(f"the files do not fit together: {error}") from error


def check_same_columns(first_name: str, first: Sequence[str], name: str, columns: Sequence[str]) -> None:
    """Raises SourceUnreadable when a file has other columns than the one that is read before it."""
    missing, extra = sorted(set(first) - set(columns)), sorted(set(columns) - set(first))
    if missing or extra:
        raise SourceUnreadable(
            f"{name} has other columns than {first_name}: "
            + "; ".join(
                f"{word} {', '.join(map(repr, names))}"
                for word, names in (("it lacks", missing), ("it adds", extra))
                if names
            )
            + ". Files read together need the same columns",
            file=name,
        )


def _read_database(place: str, source: str, query: str | None, folder: Path) -> pl.DataFrame:
    import polars as pl
    import sqlalchemy as sa

    shown = describe_source(source)
    if not query:
        raise SourceUnreadable(f'{shown} is a database; say which rows with query = "select …" under [data]')
    try:
        url = sa.make_url(place)
        if url.get_backend_name() == "postgresql" and url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite":
            file = folder / (url.database or "")
            if not file.is_file():  # opening it would make an empty one
                raise SourceUnreadable(f"there is no database file {shown}")
            url = url.set(database=str(file))
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise SourceUnreadable(f"{shown} can't be opened: {error}") from error
    try:
        with engine.connect() as conn:
            if url.get_backend_name() == "sqlite":
                conn.exec_driver_sql("PRAGMA query_only = ON")
            else:
                conn = conn.execution_options(postgresql_readonly=True)
            return pl.read_database(query, conn, infer_schema_length=None)
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise SourceUnreadable(f"the query on {shown} failed: {reason}", source=shown) from error
    finally:
        engine.dispose()
