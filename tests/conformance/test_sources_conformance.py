from __future__ import annotations

import gzip
import os
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flyball.core.errors import BadInput, SourceUnreadable
from flyball.data.batches import open_batches
from flyball.data.sources import describe_source, read_source

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "ü"], "c": [0.5, 1.5, None]})


def as_bytes(name: str, frame: pl.DataFrame = FRAME) -> bytes:
    import io

    target = io.BytesIO()
    ending = name.removesuffix(".gz").rpartition(".")[2]
    if ending in ("csv", "tsv"):
        frame.write_csv(target, separator="\t" if ending == "tsv" else ",")
    elif ending == "parquet":
        frame.write_parquet(target)
    elif ending in ("jsonl", "ndjson"):
        frame.write_ndjson(target)
    else:
        frame.write_json(target)
    return gzip.compress(target.getvalue()) if name.endswith(".gz") else target.getvalue()


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet", "t.jsonl", "t.ndjson.gz", "t.json"]
)
def test_every_kind_of_file_reads_the_same_here_and_in_an_object_store(name: str, blobs: Any, tmp_path: Path):
    blobs.put_latest(f"data/{name}", as_bytes(name))

    assert read_source(f"{blobs.url}/data/{name}", folder=tmp_path).equals(FRAME)


def test_a_folder_is_read_in_the_order_of_names_and_hidden_files_are_left_out(blobs: Any, tmp_path: Path):
    blobs.put_latest("data/2.csv", as_bytes("2.csv", FRAME[2:]))
    blobs.put_latest("data/1.parquet", as_bytes("1.parquet", FRAME[:2]))
    blobs.put_latest("data/_notes.csv", b"not,these\n")
    blobs.put_latest("data/readme.md", b"nor this")

    assert read_source(f"{blobs.url}/data", folder=tmp_path).equals(FRAME)
    assert read_source(f"{blobs.url}/data/", folder=tmp_path).equals(FRAME)


def test_a_delta_table_is_read(table_root: str, tmp_path: Path):
    from flyball.backends.tables.delta import append

    append(f"{table_root}/t1", FRAME)

    assert read_source(f"{table_root}/t1", folder=tmp_path).equals(FRAME)


def test_rows_in_parts_are_the_same_wherever_they_lie(blobs: Any, table_root: str, tmp_path: Path):
    from flyball.backends.tables.delta import append

    blobs.put_latest("data/1.csv.gz", as_bytes("1.csv.gz", FRAME))
    append(f"{table_root}/t1", FRAME)
    (tmp_path / "1.parquet").write_bytes(as_bytes("1.parquet"))

    places = (f"{blobs.url}/data/1.csv.gz", f"{table_root}/t1", "1.parquet")
    opened = [open_batches(place, folder=tmp_path) for place in places]
    assert [pl.concat(batches).equals(FRAME) for batches in opened] == [True, True, True]
    again = open_batches(places[1], folder=tmp_path)
    append(f"{table_root}/t1", FRAME)
    assert again.digest == opened[1].digest != open_batches(places[1], folder=tmp_path).digest


def test_a_missing_object_and_a_folder_without_tables_are_told(blobs: Any, tmp_path: Path):
    blobs.put_latest("data/readme.md", b"x")
    with pytest.raises(SourceUnreadable, match=r"there is no (object|file)"):
        read_source(f"{blobs.url}/data/none.csv", folder=tmp_path)
    with pytest.raises(SourceUnreadable, match=r"no file that can be read"):
        read_source(f"{blobs.url}/data", folder=tmp_path)


def test_a_query_reads_a_database_of_each_kind(database: Any, tmp_path: Path):
    from sqlalchemy import text

    with database.write() as conn:
        conn.execute(text("create table loans (a integer, b text, c double precision)"))
        conn.execute(text("insert into loans values (1, 'x', 0.5), (2, null, 1.5), (3, 'ü', null)"))
    url = database.url.render_as_string(hide_password=False)

    assert read_source(url, query="select * from loans order by a", folder=tmp_path).equals(FRAME)
    with pytest.raises(SourceUnreadable, match=r"failed: .*nowhere"):
        read_source(url, query="select * from nowhere", folder=tmp_path)
    with pytest.raises(SourceUnreadable, match=r"failed"):
        read_source(url, query="delete from loans", folder=tmp_path)
    assert len(read_source(url, query="select * from loans", folder=tmp_path)) == 3
    with pytest.raises(SourceUnreadable, match=r"query ="):
        read_source(url, folder=tmp_path)


def test_a_database_file_lies_relative_to_the_project(tmp_path: Path):
    with sqlite3.connect(tmp_path / "shop.db") as conn:
        conn.execute("create table t as select 1 as a")

    assert read_source("sqlite:///shop.db", query="select a from t", folder=tmp_path)["a"].to_list() == [1]
    with pytest.raises(SourceUnreadable, match=r"no database file"):
        read_source("sqlite:///other.db", query="select 1", folder=tmp_path)
    assert not (tmp_path / "other.db").exists()


def test_a_glob_reads_what_matches_and_files_must_have_the_same_columns(tmp_path: Path):
    for name, part in (
        ("m1.csv", FRAME[:1]),
        ("m2.csv", FRAME[1:]),
        ("other.csv", FRAME.drop("c").with_columns(d=1)),
    ):
        (tmp_path / name).write_bytes(as_bytes(name, part))

    assert read_source("m*.csv", folder=tmp_path).equals(FRAME)
    with pytest.raises(
        SourceUnreadable, match=r"other.csv has other columns than m1.csv: it lacks 'c'; it adds 'd'"
    ):
        read_source("*.csv", folder=tmp_path)
    with pytest.raises(SourceUnreadable, match=r"no file matches"):
        read_source("n*.csv", folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a;b\n1;x\n", ["a", "b"]),
        (b"\xef\xbb\xbfa,b\r\n1,x\r\n", ["a", "b"]),
        (b'"a,1",b\n1,2\n', ["a,1", "b"]),
    ],
)
def test_common_dialects_of_csv_are_understood(content: bytes, columns: list[str], tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(content)

    assert read_source("t.csv", folder=tmp_path).columns == columns


def test_dates_in_csv_are_dates_and_late_surprises_in_a_column_do_not_stop_it(tmp_path: Path):
    rows = "".join(f"{number},2024-01-01\n" for number in range(20_000))
    (tmp_path / "t.csv").write_text(f"a,day\n{rows}surprise,2024-01-02\n")

    frame = read_source("t.csv", folder=tmp_path)

    assert frame.schema == {"a": pl.String, "day": pl.Date}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"a,b\n", "holds no rows"),
        ("t.csv", b"a,a\n1,2\n", "column 'a' more than once"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields"),
        ("t.csv", b"a,b\n\xff\xfe,1\n", "utf-8|UTF-8"),
        ("t.csv.gz", b"\x1f\x8bbroken", "can't be read"),
        ("t.parquet", b"PAR1 garbage PAR1", "can't be read"),
        ("t.parquet", as_bytes("t.parquet")[:-30], "can't be read"),
        ("t.json", b'[{"a":', "can't be read"),
        ("t.jsonl", b'{"a":1}\nnonsense', "can't be read"),
        ("t.xlsx", b"PK", "these are: csv"),
    ],
)
def test_what_can_not_be_read_says_what_and_where(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceUnreadable, match=message):
        read_source(name, folder=tmp_path)


def test_a_flipped_byte_in_parquet_is_an_error_or_other_rows_but_never_a_crash(tmp_path: Path):
    whole = as_bytes("t.parquet")
    for position in range(0, len(whole), 7):
        data = bytearray(whole)
        data[position] ^= 0xFF
        (tmp_path / "t.parquet").write_bytes(data)
        try:
            read_source("t.parquet", folder=tmp_path)
        except SourceUnreadable as error:
            assert "t.parquet" in error.message


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path):
    (tmp_path / "credit.parquet").write_bytes(as_bytes("credit.parquet"))

    with pytest.raises(SourceUnreadable, match=r"did you mean 'credit.parquet'"):
        read_source("credits.parquet", folder=tmp_path)
    with pytest.raises(SourceUnreadable, match=r"no folder"):
        read_source("nowhere/credit.parquet", folder=tmp_path)


def test_secrets_come_from_the_environment_and_are_not_shown(tmp_path: Path):
    source = "mysql://reader:${DB_PASSWORD}@db.example.com/shop"

    with pytest.raises(BadInput) as caught:
        read_source(source, query="select 1", folder=tmp_path, environment={"DB_PASSWORD": "hunter2"})
    assert "hunter2" not in caught.value.message
    assert describe_source("postgresql://me:hunter2@h/db") == "postgresql://***@h/db"
    with pytest.raises(SourceUnreadable, match=r"DB_PASSWORD"):
        read_source(source, query="select 1", folder=tmp_path, environment={})


@pytest.mark.parametrize("source", ["https://example.com/t.csv", "http://127.0.0.1/t.csv", "ftp://h/t.csv"])
def test_web_addresses_are_not_fetched(source: str, tmp_path: Path):
    with pytest.raises(SourceUnreadable, match=r"web address"):
        read_source(source, folder=tmp_path)


def test_a_query_is_for_databases_only(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(as_bytes("t.csv"))

    with pytest.raises(SourceUnreadable, match=r"is for databases"):
        read_source("t.csv", query="select 1", folder=tmp_path)


def test_a_pipe_without_a_writer_is_refused_and_never_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "t.csv")

    with pytest.raises(SourceUnreadable, match=r"t\.csv is no ordinary file"):
        read_source("t.csv", folder=tmp_path)
    with pytest.raises(SourceUnreadable, match=r"no file that can be read"):
        read_source(".", folder=tmp_path)
