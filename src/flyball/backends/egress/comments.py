"""The port of code hosts that take comments, and how one comment is kept up to date on them."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec

from flyball.core.errors import EgressRefused, HostRefused, HostUnavailable

LONGEST_WAIT_SECONDS = 10
MOST_PAGES = 60
_PAGE_SIZES = (100, 20, 4)


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    """A comment on a change. `own`: written by whom the token stands for, so nobody else can change what it says."""

    id: int
    body: str
    url: str | None
    own: bool


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """The comment stands at `url` (None where the host did not say); `updated`: an earlier one was replaced."""

    url: str | None
    updated: bool


class NotPosted(msgspec.Struct, frozen=True):
    """Nothing was written, with the reason and what to do."""

    because: str


class CommentHost(ABC):
    """One change (pull or merge request) on a code host. Raises EgressRefused, HostRefused, HostUnavailable."""

    @abstractmethod
    def list_page(self, page: int, size: int) -> list[Comment]:
        """A page of the change's comments, from 1; fewer than `size` on the last one."""

    @abstractmethod
    def create(self, body: str) -> Comment:
        """A new comment."""

    @abstractmethod
    def replace(self, comment_id: int, body: str) -> Comment:
        """A comment with a new text."""

    @abstractmethod
    def delete(self, comment_id: int) -> None:
        """Remove a comment; one that is gone is fine."""


def post_comment(
    host: CommentHost, *, marker: str, order: int, body: str, sleep: Callable[[float], None] = time.sleep
) -> Posted | NotPosted:
    """Put a text on the change as the one comment with this marker: written anew, or in place of the earlier one.

    marker: letters, digits and `-._` that tell this comment from others of ours, as a hidden first line. order: of the
    run; a later run's comment is left as it is. Of several writers at once, one comment stays. Never raises for what
    the host or the network does.
    """
    try:
        try:
            return _post(host, marker, order, body)
        except HostUnavailable as error:
            wait = error.facts.get("retry_seconds")
            if wait is None or wait > LONGEST_WAIT_SECONDS:
                raise
            sleep(wait)
            return _post(host, marker, order, body)
    except (EgressRefused, HostRefused, HostUnavailable) as error:
        return NotPosted(error.message)


def hidden_line(marker: str, order: int) -> str:
    """The first line by which a comment is found again."""
    return f"<!-- flyball {re.sub(r'[^A-Za-z0-9._-]', '-', marker)} run={order} -->"


def _post(host: CommentHost, marker: str, order: int, body: str) -> Posted | NotPosted:
    text = f"{hidden_line(marker, order)}\n{body}"
    found = _find(host, marker)
    if found and _order(found[0]) > order:
        return NotPosted("a later run has reported on this change already")
    if found:
        try:
            return _settle(host, found, text)
        except HostRefused as error:
            if error.facts.get("status") != 404:
                raise
    created = host.create(text)
    try:
        found = _find(host, marker)
        if len(found) < 2:
            return Posted(url=created.url, updated=False)
        # Another job was as quick: the older comment stays, ours goes.
        return _settle(host, found, text if _order(found[0]) <= order else found[0].body)
    except (HostRefused, HostUnavailable):
        return Posted(url=created.url, updated=False)


def _settle(host: CommentHost, found: list[Comment], text: str) -> Posted:
    kept = host.replace(found[0].id, text)
    for extra in found[1:]:
        host.delete(extra.id)
    return Posted(url=kept.url, updated=True)


def _find(host: CommentHost, marker: str) -> list[Comment]:
    """Our comments with the marker, the oldest first."""
    start = hidden_line(marker, 0).removesuffix("0 -->")
    for size in _PAGE_SIZES:
        try:
            return sorted(
                (one for one in _list_all(host, size) if one.own and one.body.startswith(start)),
                key=lambda one: one.id,
            )
        except HostUnavailable as error:
            # Long comments: a page of a hundred can be more than is read of one answer.
            if "too_large" not in error.facts or size == _PAGE_SIZES[-1]:
                raise
    return []


def _list_all(host: CommentHost, size: int) -> list[Comment]:
    comments: list[Comment] = []
    for page in range(1, MOST_PAGES + 1):
        found = host.list_page(page, size)
        comments += found
        if len(found) < size:
            return comments
    raise HostUnavailable(
        f"the change has more than {len(comments) - 1} comments; ours is not looked for in more"
    )


def _order(comment: Comment) -> int:
    told = re.match(r"<!-- flyball \S+ run=(\d{1,18}) -->", comment.body)
    return int(told[1]) if told else 0
