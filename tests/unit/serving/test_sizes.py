"""What is far too much is told from a body's bytes, whatever stands in its texts."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from flyball.serving import sizes
from flyball.serving.protocol import Rejected
from flyball.serving.sizes import AROUND_ROWS, SMALL_BYTES, check_sizes

MAX_ROWS, MAX_VALUES = 100, 200


def refused(body: bytes) -> int | None:
    """The status of the refusal; None for a body that may be decoded."""
    try:
        asyncio.run(check_sizes(body, "rows", MAX_ROWS, MAX_VALUES))
    except Rejected as refusal:
        return refusal.status
    return None


def encoded(content: Any) -> bytes:
    """JSON that is long enough to be looked at."""
    return json.dumps(content).encode() + b" " * SMALL_BYTES


@pytest.fixture(autouse=True)
def each_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MANY_VALUES", 0)


@pytest.mark.parametrize(
    "content",
    [
        {"columns": [], "data": [[]] * (MAX_ROWS + AROUND_ROWS)},
        {"rows": [{}] * (MAX_ROWS + AROUND_ROWS)},
        {"rows": [{"a": [[]] * (MAX_ROWS + AROUND_ROWS)}]},
    ],
)
def test_more_arrays_and_objects_than_rows_need_are_a_413(content: Any):
    assert refused(encoded(content)) == 413


@pytest.mark.parametrize(
    "content",
    [
        {"rows": [{}, {str(number): 1 for number in range(MAX_VALUES + 2)}]},
        {"columns": [str(number) for number in range(MAX_VALUES + 2)], "data": [[]]},
        {"columns": [], "data": [[], [1] * (MAX_VALUES + 2), []]},
    ],
)
@pytest.mark.parametrize("slice_bytes", [50, 65536])
def test_a_row_of_too_many_values_is_a_422_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, slice_bytes: int, content: Any
):
    monkeypatch.setattr(sizes, "SLICE_BYTES", slice_bytes)
    assert refused(encoded(content)) == 422


@pytest.mark.parametrize("slice_bytes", [1, 7, 4096])
def test_what_stands_in_texts_does_not_count_however_they_are_cut(
    monkeypatch: pytest.MonkeyPatch, slice_bytes: int
):
    monkeypatch.setattr(sizes, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(sizes, "SMALL_BYTES", 0)
    chance = random.Random(7)
    for _ in range(20):
        text = "".join(chance.choices('[{,}]"\\x', k=600))
        rows = [{"a": text, text: "\\", "b": 1}] * 3
        assert refused(json.dumps({"rows": rows}).encode()) is None
        assert refused(json.dumps({"rows": [*rows, *[{}] * (MAX_ROWS + AROUND_ROWS)]}).encode()) == 413


def test_as_many_rows_and_values_as_may_be_are_decoded():
    rows = [{str(number): 1 for number in range(MAX_VALUES)}] * MAX_ROWS
    texts = [str(number) for number in range(MAX_ROWS)]
    assert refused(encoded({"rows": rows, "ids": texts, "entity": texts, "at": texts})) is None
    table = {"columns": texts, "data": [[1] * 100] * MAX_ROWS, "ids": texts, "entity": texts, "at": texts}
    assert refused(encoded(table)) is None


def test_others_have_their_turn_while_a_long_body_is_looked_at():
    turns = 0

    async def story() -> None:
        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await check_sizes(encoded({"rows": [{"a": "[" * 10 * SMALL_BYTES}]}), "rows", MAX_ROWS, MAX_VALUES)
        task.cancel()

    asyncio.run(story())
    assert turns >= 10


@pytest.mark.parametrize(
    "body", [b"\\" * 300_000, b'"' * 300_001, b"", b"]" * 100_000, b'{"rows": ["' + b"[" * 99_999]
)
def test_what_is_no_json_is_left_to_the_decoder(body: bytes):
    assert refused(body) is None
