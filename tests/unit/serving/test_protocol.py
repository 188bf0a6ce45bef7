"""Bodies: what is understood, and how what is not is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from flyball.serving.protocol import (
    FieldError,
    Rejected,
    check_ids,
    decode_outcomes,
    decode_predict,
    list_rows,
    per_row,
    rejected_rows,
)


def rows_of(content: Any) -> list[dict[str, Any]]:
    return list_rows(decode_predict(json.dumps(content).encode()), 100)


def refusal(content: Any) -> Rejected:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(Rejected) as caught:
        list_rows(decode_predict(data), 100)
    return caught.value


def test_rows_and_columns_with_data_are_the_same_thing():
    rows = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    assert rows_of({"rows": rows}) == rows
    assert rows_of({"columns": ["a", "b"], "data": [[1, "x"], [None, "y"]]}) == rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"rows": [{"a": NaN}]}',
        b'{"rows": [{"a": Infinity}]}',
        b'{"rows": [{"a": -Infinity}]}',
        b'{"rows": [{"a": 1e999}]}',
        b"[" * 100_000,
        b'{"rows":[{"a":' + b"[" * 70 + b"]" * 70 + b"}]}",
        b'{"rows":[{"a":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}]}",
    ],
)
def test_what_is_no_json_is_a_400(body: bytes):
    assert refusal(body).status == 400


@pytest.mark.parametrize(
    ("content", "row", "field"),
    [
        ({}, None, "rows"),
        ({"rows": []}, None, "rows"),
        ([], None, "rows"),
        ({"rows": [{"a": 1}], "columns": ["a"], "data": [[1]]}, None, "rows"),
        ({"rows": [{"a": 1}], "colour": "red"}, None, "rows"),
        ({"columns": ["a", "a"], "data": [[1, 2]]}, None, "columns"),
        ({"columns": ["a", "b"], "data": [[1, 2], [1]]}, 1, "data"),
        ({"rows": [{"a": 1}, {"a": [1]}]}, 1, "a"),
        ({"rows": [{"a": 1}, {"b": {"c": 1}}]}, 1, "b"),
        ({"rows": [{"a": 1}, "row"]}, 1, None),
    ],
)
def test_a_body_that_is_no_request_is_a_422_that_names_row_and_field(
    content: Any, row: int | None, field: str | None
):
    error = refusal(content)
    assert error.status == 422
    assert (error.errors[0].row, error.errors[0].feature) == (row, field)
    assert {"code", "message", "errors"} == json.loads(error.body()).keys()


def test_too_many_rows_are_a_413():
    assert refusal({"rows": [{"a": 1}] * 101}).status == 413


def test_ids_are_one_per_row_each_once_and_not_endless():
    assert check_ids(["x", 7], 2) == ["x", "7"]
    for ids in (["x"], ["x", "x"], ["x", ""], ["x", "y" * 201]):
        with pytest.raises(Rejected) as caught:
            check_ids(ids, 2)
        assert caught.value.status == 422


def test_one_value_holds_for_every_row_and_a_list_row_by_row():
    assert per_row("entity", "kim", 2) == ["kim", "kim"]
    assert per_row("entity", [7, None], 2) == ["7", None]
    with pytest.raises(Rejected):
        per_row("entity", ["kim"], 2)


def test_an_outcome_without_value_is_a_422():
    with pytest.raises(Rejected) as caught:
        decode_outcomes(b'{"outcomes": [{"prediction_id": "prd_0"}]}')
    assert caught.value.status == 422


def test_at_most_a_hundred_errors_are_listed():
    error = refusal({"rows": [{"a": []}] * 150})
    assert len(json.loads(error.body())["errors"]) == 100


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b'"\\' * 100_000,  # a string that never ends, full of quotes
        json.dumps(
            {"columns": [f"c{number}" for number in range(100_000)] + ["c99999"], "data": []}
        ).encode(),
    ],
)
def test_a_body_made_to_be_looked_at_again_and_again_is_refused_as_quickly_as_any(body: bytes):
    began = time.process_time()
    assert refusal(body).status in (400, 422)
    assert time.process_time() - began < 2


def test_every_one_of_many_rows_is_told_what_is_wrong_with_it_and_a_few_are_told_all():
    errors = [FieldError(row, name, "range", "7", "18") for row in range(900) for name in ("a", "b")]
    told = json.loads(rejected_rows(errors).body())["errors"]
    assert [error["row"] for error in told] == list(range(900))
    assert {error["feature"] for error in told} == {"a"}
    assert len(json.loads(rejected_rows(errors[:80]).body())["errors"]) == 80
    few = json.loads(rejected_rows([*errors[:2], *errors[:2] * 100]).body())["errors"]
    assert len(few) == 100
    endless = [FieldError(row, "a", "range", "7", "18") for row in range(5000)]
    assert len(json.loads(rejected_rows(endless).body())["errors"]) == 1000
