"""Tables in files: CSV (also gzipped), TSV, Parquet, JSON lines and JSON, by the ending of the name."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import SourceUnreadable

if TYPE_CHECKING:
    import polars as pl

FORMATS = "csv, csv.gz, tsv, parquet, jsonl, ndjson, json"
LFS_HEAD = b"version https://git-lfs.github.com/spec/"
# A larger file is scanned part by part; below, reading it whole costs little and tells more of what is wrong.
LARGE_BYTES = 64 * 1024 * 1024
_MANY_COLUMNS = 100
_TEXT = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
_ENDINGS = (*_TEXT, *_JSON_LINES, ".json", ".parquet", ".pq")


def is_table_name(name: str) -> bool:
    """Whether a file of this name is one that `read_table` reads; hidden files are none."""
    last = name.rpartition("/")[2].lower()
    return not last.startswith((".", "_")) and last.removesuffix(".gz").endswith(_ENDINGS)


def is_text_name(name: str) -> bool:
    """Whether a file of this name is CSV or TSV, whose cells have no types."""
    return name.lower().removesuffix(".gz").endswith(_TEXT)


def read_table(name: str, content: Path | bytes, texts: Collection[str] = ()) -> pl.DataFrame:
    """The rows of one file. `name` tells its kind and is what errors call it. Raises SourceUnreadable.

    texts: columns of CSV and TSV that are text whatever they look like, such as codes of digits.
    """
    import polars as pl

    ending = name.lower().removesuffix(".gz")
    try:
        data = _unpacked(name, content)
        if ending.endswith((".parquet", ".pq")):
            return pl.read_parquet(_readable(data))
        if ending.endswith(_JSON_LINES):
            return pl.read_ndjson(_readable(data), infer_schema_length=None)
        if ending.endswith(".json"):
            return pl.read_json(_readable(data), infer_schema_length=None)
        if ending.endswith(_TEXT):
            return _read_text(name, data, texts)
    except SourceUnreadable:
        raise
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise SourceUnreadable(f"{name} can't be read: {_reason(error)}", file=name) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # polars' native code gives up on some broken files
            raise
        raise SourceUnreadable(f"{name} can't be read: the file is damaged", file=name) from error
    raise SourceUnreadable(f"{name} is of no kind that can be read; these are: {FORMATS}", file=name)


def scan_table(
    name: str, path: Path, large_bytes: int = LARGE_BYTES, texts: Collection[str] = ()
) -> pl.LazyFrame | None:
    """The rows of a large file, for who reads them in parts; None for one that has to be read whole.

    That is a small one, a compressed one and JSON that is no JSON lines. texts: as in `read_table`. Raises
    SourceUnreadable.
    """
    import polars as pl

    ending = name.lower()
    if path.stat().st_size < large_bytes or _first_bytes(path) == LFS_HEAD:
        return None
    if ending.endswith((".parquet", ".pq")):
        return pl.scan_parquet(path, glob=False)
    if ending.endswith(_JSON_LINES):
        return pl.scan_ndjson(path, infer_schema_length=None)
    return _scan_text(name, path, texts) if ending.endswith(_TEXT) else None


def _scan_text(name: str, path: Path, texts: Collection[str]) -> pl.LazyFrame:
    import polars as pl

    names, separator = _check_header(name, path)
    options: dict[str, Any] = {"separator": separator, "null_values": [""], "glob": False}
    as_text = {column: pl.String for column in names if column in texts}
    found = pl.scan_csv(
        path, try_parse_dates=True, infer_schema_length=None, schema_overrides=as_text, **options
    )
    schema = found.collect_schema()
    # Types that were told once are not looked for again, which would take as long; moments are told by their looks.
    is_plain = not any(kind.is_temporal() for kind in schema.dtypes())
    return pl.scan_csv(path, schema=schema, **options) if is_plain else found


def _unpacked(name: str, content: Path | bytes) -> Path | bytes:
    """Gzipped content unpacked, whatever the name; polars does it for CSV only."""
    start = content[: len(LFS_HEAD)] if isinstance(content, bytes) else _first_bytes(content)
    if not start:
        raise SourceUnreadable(f"{name} is empty", file=name)
    if start == LFS_HEAD:
        raise SourceUnreadable(
            f"{name} holds a pointer of Git LFS in place of the rows; `git lfs pull` fetches them (in CI: check out "
            "with LFS)",
            file=name,
        )
    if start[:2] != b"\x1f\x8b":
        return content
    return gzip.decompress(content if isinstance(content, bytes) else content.read_bytes())


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(LFS_HEAD))


def _readable(data: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(data) if isinstance(data, bytes) else data


def _read_text(name: str, data: Path | bytes, texts: Collection[str]) -> pl.DataFrame:
    import polars as pl

    names, separator = _check_header(name, data)
    try:
        frame = _parsed(data, separator, names, texts)
    except pl.exceptions.PolarsError as error:
        line, count = _uneven_line(name, data, separator, len(names))
        if line is None:
            raise
        raise SourceUnreadable(
            f"{name}, line {line}: {count} fields, and the first line names {len(names)} columns",
            file=name,
            line=line,
        ) from error
    # A column that is empty here may hold numbers in the next file; text would turn those into text.
    empty = [series.name for series in frame if series.null_count() == frame.height]
    return frame.with_columns(pl.col(empty).cast(pl.Null)) if empty and frame.height else frame


def _check_header(name: str, data: Path | bytes) -> tuple[list[str], str]:
    """The names of the columns, and the sign that separates them. Raises SourceUnreadable for one that comes twice."""
    header = _first_line(data)
    separator = "\t" if ".tsv" in name.lower() else _separator(header)
    names = next(_fields(name, csv.reader([header], delimiter=separator)), [])
    twice = sorted(field for field, count in Counter(names).items() if count > 1)
    if twice:
        raise SourceUnreadable(
            f"{name} names the column {twice[0]!r} more than once in its first line; give each its own name",
            file=name,
        )
    return names, separator


def _parsed(data: Path | bytes, separator: str, columns: list[str], texts: Collection[str]) -> pl.DataFrame:
    """The rows with numbers and moments told from text.

    Looking for moments costs five milliseconds a column, so in wide files only text that has digits is looked at.
    """
    import polars as pl

    options: dict[str, Any] = {"separator": separator, "infer_schema_length": None, "null_values": [""]}
    as_text = {column: pl.String for column in columns if column in texts}
    if len(columns) <= _MANY_COLUMNS:
        return pl.read_csv(_readable(data), try_parse_dates=True, schema_overrides=as_text, **options)
    frame = pl.read_csv(_readable(data), schema_overrides=as_text, **options)
    starts = frame.select(pl.col(pl.String).drop_nulls().first().str.contains(r"^\s*\d"))
    names = [name for name in starts.columns if starts[name].item() and name not in texts]
    if not names:
        return frame
    # The number of the row keeps one with nothing else from being an empty line.
    looked_at = [pl.col(name).alias(f"text {number}") for number, name in enumerate(names)]
    numbered = frame.select(pl.int_range(pl.len()).alias("row"), *looked_at)
    again = io.BytesIO(numbered.write_csv(separator=separator).encode())
    moments = pl.read_csv(again, try_parse_dates=True, **options).drop("row")
    found = [
        series.alias(name) for name, series in zip(names, moments, strict=True) if series.dtype.is_temporal()
    ]
    return frame.with_columns(found)


def _fields(name: str, reader: Any) -> Iterator[list[str]]:
    """The fields of each line. Raises SourceUnreadable for one that no column can be meant with."""
    try:
        yield from reader
    except csv.Error as error:  # "field larger than field limit (131072)" and the like
        line = reader.line_num
        raise SourceUnreadable(
            f"{name} can't be read: {error}, in line {line}; look for a quotation mark that is never closed",
            file=name,
            line=line,
        ) from error


def _uneven_line(name: str, data: Path | bytes, separator: str, expected: int) -> tuple[int | None, int]:
    """The first line that has more fields than the header, and how many; (None, 0) when none has."""
    text = (data if isinstance(data, bytes) else data.read_bytes()).decode("utf-8", "replace")
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    for fields in _fields(name, reader):
        if len(fields) > expected:
            return reader.line_num, len(fields)
    return None, 0


def _first_line(data: Path | bytes) -> str:
    if isinstance(data, bytes):
        line = data.split(b"\n", 1)[0]
    else:
        with data.open("rb") as file:
            line = file.readline(1 << 20)
    return line.decode("utf-8-sig").rstrip("\r\n")


def _separator(header: str) -> str:
    """The comma, unless the first line has none and another sign that separates."""
    if "," not in header:
        for sign in (";", "\t", "|"):
            if sign in header:
                return sign
    return ","


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "its text is not UTF-8; save it as UTF-8"
    if isinstance(error, PermissionError):
        return "this account may not read it"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
