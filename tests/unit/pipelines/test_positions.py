from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.pipelines.positions import dotted, find_lines

DOCUMENT = '''# a comment with = and [brackets]
[model]
name = "credit"   # trailing # comment
"quoted key" = 1

[data]
features = [
    "a",
    "b",  # why b
]
split = { by = "time", test = 0.2 }
text = """
not = "a key"
[nor.a.table]
"""
raw = \'\'\'also
x = 1\'\'\'
[[gates]]
metric = "roc_auc"
min = 0.7
[[gates]]
metric = "log_loss"
[contract.features.age]
type = "int"
[train]
params.depth = 3
params.rate = 1e-3
'''


def test_each_key_is_found_on_its_line():
    lines = find_lines(DOCUMENT)
    wanted = DOCUMENT.splitlines()
    assert lines[("model", "name")] == 3
    assert lines[("model", "quoted key")] == 4
    assert lines[("data", "features", 1)] == 9
    assert lines[("data", "split", "test")] == 11
    assert wanted[lines[("gates", 1, "metric")] - 1] == 'metric = "log_loss"'
    assert wanted[lines[("gates", 0, "min")] - 1] == "min = 0.7"
    assert wanted[lines[("contract", "features", "age", "type")] - 1] == 'type = "int"'
    assert wanted[lines[("train", "params", "rate")] - 1] == "params.rate = 1e-3"
    assert ("data", "not") not in lines and ("nor",) not in lines


def test_paths_are_written_as_people_write_them():
    assert dotted(("data", "join", 1, "on")) == "data.join[1].on"


def test_subtables_of_an_array_element_belong_to_the_latest_element():
    text = "[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2\n[[a.c]]\nz = 3\n"
    lines = find_lines(text)
    assert lines[("a", 1, "b", "y")] == 5
    assert lines[("a", 1, "c", 0, "z")] == 7


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = []
    if isinstance(value, dict):
        for key, below in value.items():
            found += [(*path, key), *_paths(below, (*path, key))]
    elif isinstance(value, list):
        for number, below in enumerate(value):
            found += [(*path, number), *_paths(below, (*path, number))]
    return found


values = st.recursive(
    st.sampled_from(
        ["1", "true", "1979-05-27T07:32:00Z", '"a # b"', "'c]'", '"""d\n"e" = [\n"""', "-1.5", "'''\nf''''"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[ # note\n" + " ,\n".join(parts) + "\n]")
        | st.lists(inner, max_size=3).map(
            lambda parts: (
                "{ "
                + ", ".join(f"k{n}.x = {part}" for n, part in enumerate(parts) if "\n" not in part)
                + " }"
            )
        )
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["[t{n}]", "[[u]]", "[v.'w {n}']", ""]), values), max_size=5))
def test_every_key_that_tomllib_reads_has_a_line(parts: list[tuple[str, str]]):
    text = ""
    for number, (header, value) in enumerate(parts):
        text += header.format(n=number) + f"\nkey{number} = {value}\n"
    document = tomllib.loads(text)
    lines = find_lines(text)
    for path in _paths(document):
        assert path in lines, (path, text)
