"""The rows of a source in parts: the same rows, types and errors as when it is read whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flyball.core.errors import SourceUnreadable
from flyball.data.batches import open_batches
from flyball.data.content import canonical_frame
from flyball.data.sources import read_source

COUNT = 45_000


def frame(start: int = 0) -> pl.DataFrame:
    """Rows of which the first ones do not tell the types of the last."""
    numbers = pl.int_range(start, start + COUNT, eager=True)
    return pl.DataFrame(
        {
            "id": [f"{n}" if n < COUNT - 1 else "last" for n in numbers],
            "price": [float(n) if n > COUNT - 5 else None for n in numbers],
            "day": pl.Series(numbers % 900).cast(pl.Date),
            "none": pl.Series([None] * COUNT, dtype=pl.String),
        }
    )


def write(path: Path, rows: pl.DataFrame) -> None:
    write = {".csv": rows.write_csv, ".parquet": rows.write_parquet, ".jsonl": rows.write_ndjson}
    write[path.suffix](path)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_parts_are_the_rows_of_the_whole(tmp_path: Path, ending: str):
    write(tmp_path / f"rows.{ending}", frame())
    whole = canonical_frame(read_source(f"rows.{ending}", folder=tmp_path))
    parts = list(open_batches(f"rows.{ending}", folder=tmp_path, large_bytes=0))
    assert len(parts) > 1 and pl.concat(parts).equals(whole)
    assert pl.concat(open_batches(f"rows.{ending}", folder=tmp_path)).equals(whole)


def test_files_of_a_folder_have_one_type_for_each_column(tmp_path: Path):
    write(tmp_path / "1.csv", pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    write(tmp_path / "2.csv", pl.DataFrame({"b": ["z"], "a": [0.5]}))
    scanned = open_batches(str(tmp_path / "*.csv"), folder=tmp_path, large_bytes=0)
    rows = pl.concat(scanned)
    assert rows.to_dict(as_series=False) == {"a": [1.0, 2.0, 0.5], "b": ["x", "y", "z"]}
    assert scanned.digest == open_batches(str(tmp_path), folder=tmp_path).digest
    write(tmp_path / "2.csv", pl.DataFrame({"b": ["z"], "a": [0.6]}))
    assert scanned.digest != open_batches(str(tmp_path), folder=tmp_path).digest


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("uneven.csv", "a,b\n" + "1,2\n" * 30_000 + "1,2,3\n", "line 30002: 3 fields"),
        ("twice.csv", "a,a\n1,2\n", "the column 'a' more than once"),
        ("cut.jsonl", '{"a": 1}\n' * 30_000 + '{"a": ', "can't be read"),
        ("no.parquet", "PAR1 and nothing more", "can't be read"),
        ("empty.csv", "", "is empty"),
        ("header.csv", "a,b\n", "holds no rows"),
    ],
)
def test_what_is_wrong_is_told_alike_in_parts_and_whole(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content)
    messages = []
    for large_bytes in (0, 1 << 30):
        with pytest.raises(SourceUnreadable, match=told) as caught:
            list(open_batches(name, folder=tmp_path, large_bytes=large_bytes))
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_a_file_that_is_not_there_is_looked_for_in_the_folder_one_is_in(tmp_path: Path):
    with pytest.raises(SourceUnreadable, match="relative to the folder that you are in"):
        open_batches("rows.csv", folder=tmp_path)


@pytest.mark.parametrize("large_bytes", [0, 10**9])
def test_codes_of_digits_are_text_where_they_are_asked_for_as_text(tmp_path: Path, large_bytes: int):
    (tmp_path / "rows.csv").write_text("zip,paid,count,none\n007,true,1,\n010,false,2,\n")
    taken = open_batches("rows.csv", folder=tmp_path, large_bytes=large_bytes)
    assert (taken.looks["zip"], taken.looks["paid"]) == (pl.Int64, pl.Boolean)
    texts = open_batches("rows.csv", folder=tmp_path, large_bytes=large_bytes, texts=["paid", "zip", "other"])
    [rows] = list(texts)
    assert rows.rows()[0] == ("007", "true", 1, None)
    pl.DataFrame({"zip": [7]}).write_parquet(tmp_path / "rows.parquet")
    assert open_batches("rows.parquet", folder=tmp_path, large_bytes=large_bytes).looks == {}
