"""Pages of lists: every item once, whatever is added at the head between two pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput
from flyball.web.paging import take_page


def walk(items: list[int], limit: int, grow: list[int]) -> list[int]:
    """All pages of a list, newest (highest) first, that grows at its head before each next page."""
    found: list[int] = []
    cursor = None
    additions = iter(grow)
    while True:
        page = take_page(lambda count: items[:count], lambda item: item, limit, cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found
        for _ in range(next(additions, 0)):
            items.insert(0, items[0] + 1 if items else 0)


@given(st.integers(0, 60), st.integers(1, 20), st.lists(st.integers(0, 30), max_size=8))
def test_pages_give_each_item_once_in_order(count: int, limit: int, grow: list[int]):
    items = list(range(count, 0, -1))
    assert walk(items, limit, grow) == list(range(count, 0, -1))


def test_a_page_that_ends_with_the_list_is_the_last_one():
    page = take_page(lambda count: [1, 2, 3][:count], lambda item: item, 3, None)
    assert page.items == [1, 2, 3]
    assert page.next is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "####", "W10", "WzEsMl0", "eyJhIjoxfQ", "W" * 300, "WzEsIjk5OSJd", "é"]
)
def test_a_cursor_of_unknown_make_is_refused(cursor: str):
    if cursor == "":
        assert take_page(lambda count: [1], lambda item: item, 1, cursor).items == [1]
        return
    with pytest.raises(BadInput, match="cursor"):
        take_page(lambda count: list(range(5))[:count], lambda item: item, 2, cursor)
