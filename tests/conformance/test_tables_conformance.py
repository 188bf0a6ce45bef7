"""One suite for tables on files and S3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flyball.backends.tables.delta import (
    append,
    committed_transaction,
    compact,
    scan,
)
from flyball.core.errors import AlreadyCommitted, TableMismatch, TableNotFound, UnsupportedUrl

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "day": ["2026-01-01", "2026-01-01", "2026-01-02"],
        "value": [1.5, None, -0.0],
        "count": pl.Series([1, 2, None], dtype=pl.Int64),
        "flags": [["x"], [], None],
        "at": pl.Series([0, 1, 2], dtype=pl.Datetime("us", "UTC")),
        "fine": [True, False, None],
    }
)


def read(url: str) -> pl.DataFrame:
    return scan(url).collect().sort("id")


def test_rows_come_back_as_they_were_appended(table_root: str) -> None:
    url = table_root + "/predictions/bike/g1"
    append(url, ROWS, partition_by=["day"])
    assert_frame_equal(read(url), ROWS, check_column_order=False)


def test_each_append_adds_and_a_filter_reads_its_part(table_root: str) -> None:
    url = table_root + "/t"
    for day in ("x", "y", "z"):
        append(url, ROWS.with_columns(day=pl.lit(day)), partition_by=["day"])
    assert scan(url).select(pl.len()).collect().item() == 9
    assert scan(url).filter(pl.col("day") == "y").collect().height == 3


def test_a_transaction_is_committed_with_its_rows_and_only_once(table_root: str) -> None:
    url = table_root + "/t"
    assert committed_transaction(url, "worker-1") is None
    append(url, ROWS, transactions={"worker-1": 4, "worker-2": 1})
    assert committed_transaction(url, "worker-1") == 4
    assert committed_transaction(url, "worker-3") is None
    for number in (4, 3):
        with pytest.raises(AlreadyCommitted):
            append(url, ROWS, transactions={"worker-1": number, "worker-2": 2})
    append(url, ROWS, transactions={"worker-1": 5})
    assert read(url).height == 6
    assert committed_transaction(url, "worker-2") == 1


def test_threads_that_append_at_once_all_succeed(table_root: str) -> None:
    url = table_root + "/t"

    def add(writer: int) -> None:
        for number in range(1, 4):
            append(url, ROWS, transactions={f"w{writer}": number})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert read(url).height == 4 * 3 * ROWS.height


def test_compacting_keeps_rows_and_transactions(table_root: str) -> None:
    url = table_root + "/t"
    for number in range(1, 6):
        append(url, ROWS, transactions={"w": number})
    before = read(url)
    compact(url)
    assert_frame_equal(read(url), before)
    assert committed_transaction(url, "w") == 5
    append(url, ROWS, transactions={"w": 6})
    assert read(url).height == 18


def test_rows_that_do_not_fit_are_refused_and_nothing_is_added(table_root: str) -> None:
    url = table_root + "/t"
    append(url, ROWS)
    for wrong in (ROWS.with_columns(more=pl.lit(1)), ROWS.with_columns(value=pl.lit("text"))):
        with pytest.raises(TableMismatch):
            append(url, wrong)
    append(url, ROWS)
    assert read(url).height == 6


def test_a_table_that_is_not_there_is_told(table_root: str) -> None:
    for ask in (scan, compact):
        with pytest.raises(TableNotFound):
            ask(table_root + "/nothing")


@pytest.mark.parametrize("url", ["", "/tmp/x", "http://x/y", "s3://u:p@b/x"])
def test_a_url_that_names_no_place_for_tables_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedUrl):
        append(url, ROWS)
