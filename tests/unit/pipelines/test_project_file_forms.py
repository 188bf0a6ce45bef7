"""The project file as editors, copies and slips of the hand leave it: it works, or the error says what it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flyball.core.errors import BadInput, ProjectError
from flyball.pipelines.named_projects import name_in
from flyball.pipelines.project_file import read_project

TEXT = """[model]
name = "shop"
task = "binary"
target = "y"
description = "grün"
[data]
source = "rows.csv"
[train]
entry = "train:train"
"""


def read(folder: Path, data: bytes, **flags: str):
    (folder / "flyball.toml").write_bytes(data)
    return read_project(folder, flags=flags)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_and_either_line_ending_make_no_difference(
    tmp_path: Path, encoding: str, ending: str
):
    file = read(tmp_path, TEXT.replace("\n", ending).encode(encoding))
    assert file.project.model.description == "grün"
    assert (file.lines["model.name"], file.lines["train.entry"]) == (2, 9)


@pytest.mark.parametrize(
    ("encoding", "line"), [("latin-1", 5), ("utf-16", 1), ("utf-16-le", 1), ("utf-16-be", 1)]
)
def test_another_encoding_is_told_with_the_line(tmp_path: Path, encoding: str, line: int):
    with pytest.raises(ProjectError, match=f"toml:{line}: is not UTF-8 text; save the file as UTF-8"):
        read(tmp_path, TEXT.encode(encoding))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('entry = "other:train"\n', "toml:10: entry stands in the file a second time"),
        ('[model]\nowner = "me"\n', r"toml:10: \[model\] stands in the file a second time"),
    ],
)
def test_a_key_that_stands_twice_is_told_with_its_line(tmp_path: Path, more: str, words: str):
    with pytest.raises(ProjectError, match=words):
        read(tmp_path, (TEXT + more).encode())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("a." * 20_000 + "b = 1\n", "is nested too deeply"),
        ("a." * 200 + "b = 1\n", "is nested too deeply"),
        ("x = " + "{a = " * 600 + "1" + "}" * 600 + "\n", "is nested too deeply"),
        ("x = " + "[" * 3000 + "]" * 3000 + "\n", "is nested too deeply"),
        ("seed = " + "9" * 5000 + "\n", "is not TOML: Exceeds the limit"),
    ],
)
def test_a_small_file_that_takes_long_to_read_is_refused_at_once(tmp_path: Path, more: str, words: str):
    begun = time.monotonic()
    with pytest.raises(ProjectError, match=words):
        read(tmp_path, (TEXT + more).encode())
    with pytest.raises(ValueError, match=r"nested too deeply|Exceeds the limit|names no model"):
        name_in(more.encode())
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('shop"', 'shop\\n"'),
        ('train:train"', 'train:train\\n"'),
        ("[train]", '[environments."test\\n"]\n[train]'),
    ],
)
def test_a_line_end_is_no_part_of_a_name(tmp_path: Path, old: str, new: str):
    with pytest.raises(ProjectError, match=r"model\.name|train\.entry|is no name of an environment"):
        read(tmp_path, TEXT.replace(old, new, 1).encode())


def test_a_file_of_ten_megabytes_is_no_project_file(tmp_path: Path):
    with pytest.raises(ProjectError, match="larger than 1 MiB"):
        read(tmp_path, TEXT.encode() + b"# x\n" * 2_600_000)


@pytest.mark.parametrize("kind", ["folder", "link to nothing", "link to itself", "pipe"])
def test_what_is_no_file_is_told_and_none_further_up_is_taken_in_its_place(tmp_path: Path, kind: str):
    (tmp_path / "flyball.toml").write_text(TEXT)
    below = tmp_path / "below"
    below.mkdir()
    path = below / "flyball.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("gone.toml" if kind == "link to nothing" else "flyball.toml")
    words = {"folder": "is a folder", "pipe": "is no file"}.get(kind, "links to .*, which is not there")
    with pytest.raises(BadInput, match=f"below/flyball.toml {words}"):
        read_project(below)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path):
    (tmp_path / "flyball.toml").write_text(TEXT)
    (tmp_path / "flyball.toml").chmod(0)
    if os.access(tmp_path / "flyball.toml", os.R_OK):
        pytest.skip("root may read everything")
    with pytest.raises(BadInput, match="can't be read: Permission denied"):
        read_project(tmp_path)


@pytest.mark.parametrize("key", ["train.params.depth", "train.seed", "model.owner", "data.features"])
@pytest.mark.parametrize("value", ["", "  "])
def test_a_setting_without_a_value_is_refused_wherever_it_comes_from(tmp_path: Path, key: str, value: str):
    with pytest.raises(BadInput, match=f"flag {key} gives no value; leave it out for the default"):
        read(tmp_path, TEXT.encode(), **{key: value})
    variable = "FLYBALL__" + key.upper().replace(".", "__")
    with pytest.raises(BadInput, match=f"environment variable {variable} .*gives no value"):
        read_project(tmp_path, environment={variable: value})


@pytest.mark.parametrize("value", ['""', "''"])
def test_an_empty_text_is_set_with_quotes(tmp_path: Path, value: str):
    file = read(tmp_path, TEXT.encode(), **{"train.params.prefix": value, "model.owner": value})
    assert (file.project.train.params, file.project.model.owner) == ({"prefix": ""}, "")
