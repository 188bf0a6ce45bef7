"""Tables of many columns are read as narrow ones are, soon enough, and up to a limit that is told."""

from __future__ import annotations

import random
import time

import pytest

import flyball.data.files as files
from flyball.core.errors import BadInput, SourceUnreadable
from flyball.core.project import DataSection, ModelSection
from flyball.data.files import read_table
from flyball.data.rows import MOST_FEATURES, choose_features

CELLS = (
    "0.25",
    "ab",
    "2025-01-{0:02d}",
    "2025-01-{0:02d}T01:02:03Z",
    "2025-01-{0:02d} 01:02:03",
    "{0}x",
    "01:10:{0:02d}",
    '"{0},a ""q"" "',
    "{0:02d}/03/2024",
    "",
    '""',
    "no",
)


def wide(columns: int, rows: int) -> bytes:
    random.seed(1)
    lines = [",".join(f"f{number}" for number in range(columns))]
    for row in range(rows):
        lines.append(",".join(CELLS[number % len(CELLS)].format(1 + row % 28) for number in range(columns)))
    return ("\n".join(lines) + "\n").encode()


def test_a_wide_table_has_the_types_and_values_of_a_narrow_one(monkeypatch: pytest.MonkeyPatch):
    content = wide(24, 40).replace(b"2025-01-07,", b",", 1)
    narrow = read_table("rows.csv", content)
    monkeypatch.setattr(files, "_MANY_COLUMNS", 3)
    assert read_table("rows.csv", content).equals(narrow)
    assert read_table("rows.csv", content).schema == narrow.schema
    assert {"Date", "String", "Float64", "Time"} <= {str(kind) for kind in narrow.dtypes}


def test_two_thousand_columns_are_read_in_a_moment():
    began = time.process_time()
    assert read_table("rows.csv", wide(2000, 20)).width == 2000
    assert time.process_time() - began < 8


def test_more_features_than_the_limit_are_refused_with_what_to_do():
    names = [f"f{number}" for number in range(MOST_FEATURES)]
    model = ModelSection(name="wide", task="regression", target="y")
    assert len(choose_features([*names, "y"], model, DataSection(source="rows.csv"))) == MOST_FEATURES
    with pytest.raises(BadInput, match=r"5,001 columns would be features, and 5,000 is the most"):
        choose_features([*names, "one", "y"], model, DataSection(source="rows.csv"))


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n" + b'1,"' + b"x" * 200_000 + b"\n2,3,4\n",
        b'"' + b"a" * 1_000_000 + b'",b\n1,2\n',
    ],
    ids=["a quotation mark that is never closed", "a column name of a megabyte"],
)
def test_a_field_that_is_too_long_is_a_refusal_with_the_files_name(content: bytes):
    with pytest.raises(SourceUnreadable, match=r"rows\.csv"):
        read_table("rows.csv", content)
