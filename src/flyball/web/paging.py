"""Lists in pages: an opaque cursor says where the next page begins, whatever was added at the head meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from flyball.core.errors import BadInput

Item = TypeVar("Item")
MOST_ITEMS = 200
MOST_LOG_LINES = 1000
DEEPEST = 100_000


class Page(msgspec.Struct, Generic[Item]):
    """Some items of a list and the cursor of the next page, null on the last one."""

    items: list[Item]
    next: str | None = None


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    seen: int
    last: str


def take_page(
    fetch: Callable[[int], Sequence[Item]], key: Callable[[Item], Any], limit: int, cursor: str | None
) -> Page[Item]:
    """The page after `cursor`, at most `limit` items.

    fetch: the first so-many items of the list, newest first. key: what names an item. The cursor holds the name of
    the last item seen, so that new items at the head neither repeat nor skip any. Raises BadInput.
    """
    after = _read_cursor(cursor) if cursor else _Cursor(0, "")
    wanted = after.seen + limit + 1
    while True:
        items = list(fetch(wanted))
        start = _position(items, key, after.last) if cursor else 0
        is_whole = len(items) < wanted
        if start is not None and (is_whole or len(items) > start + limit):
            break
        if is_whole or wanted >= DEEPEST:
            raise BadInput("the cursor points at nothing any more; begin again without it", cursor=cursor)
        wanted = min(DEEPEST, wanted * 2)
    page = items[start : start + limit]
    more = len(items) > start + limit
    return Page(page, _write_cursor(start + limit, str(key(page[-1]))) if more and page else None)


def _position(items: Sequence[Item], key: Callable[[Item], Any], last: str) -> int | None:
    return next((index + 1 for index, item in enumerate(items) if str(key(item)) == last), None)


def _write_cursor(seen: int, last: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(seen, last))).decode().rstrip("=")


def _read_cursor(text: str) -> _Cursor:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.json.decode(data, type=_Cursor)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise BadInput("this is no cursor of ours; begin again without it", cursor=text[:100]) from error
    if not 0 <= cursor.seen < DEEPEST:
        raise BadInput("this is no cursor of ours; begin again without it", cursor=text[:100])
    return cursor
