"""What a look at the data found that people should know: nothing that stops a run, all of it kept with the run."""

from __future__ import annotations

from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found.

    kind: unlabelled, not_a_number, infinite, empty_feature, constant_feature, identifier, rare_class, shared_rows,
    shared_entities, unseen_class, leak. `sentence` says what, where and what to do; `facts` the numbers in it.
    """

    kind: str
    sentence: str
    facts: dict[str, Any] = {}


def rows_in_words(count: int, total: int) -> str:
    """A count with its share.

    >>> rows_in_words(3, 1200)
    '3 of 1,200 rows (0.25 %)'
    """
    share = 100 * count / total if total else 0.0
    return f"{count:,} of {total:,} rows ({share:.2g} %)"
