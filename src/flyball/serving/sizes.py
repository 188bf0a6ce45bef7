"""How much is in a body, told from its bytes: what is far too much is refused before it becomes objects.

Decoding is one call that nothing interrupts, and millions of empty lists in 10 MB would hold up every other client.
"""

from __future__ import annotations

import asyncio

from flyball.serving.protocol import Rejected, invalid

SMALL_BYTES = 64 * 1024
MANY_VALUES = 100_000
SLICE_BYTES = 64 * 1024
AROUND_ROWS = 8  # the body itself, `rows` or `columns` and `data`, and the lists of `ids`, `entity` and `at`
MORE_FIELDS = 1000  # in a row, beyond what the model knows


async def check_sizes(body: bytes, field: str, max_rows: int, max_values: int) -> None:
    """Raises Rejected: 413 for more arrays and objects than `max_rows` rows need, 422 for a row of too many values.

    field: of the body, that holds the rows. max_values: most values in one of them. Counts that take all text for JSON
    settle nearly every body at once; others are looked at slice by slice, and other clients have their turn between.
    """
    if len(body) <= SMALL_BYTES:
        return
    most = max_rows + AROUND_ROWS
    if body.count(b"[") + body.count(b"{") <= most and body.count(b",") <= MANY_VALUES:
        return
    longest = max(max_rows, max_values)
    counts = _Counts()
    while counts.at < len(body):
        counts.take_slice(body)
        if counts.containers > most:
            raise Rejected(413, "too_many_rows", f"more than {max_rows} rows in one request: send several")
        if counts.most_commas > longest:
            raise invalid(field, "length", "more values", f"at most {longest} in one row or list")
        await asyncio.sleep(0)


class _Counts:
    """What was seen of a body up to `at`, outside of its texts."""

    def __init__(self) -> None:
        self.at = 0
        self.containers = 0
        self.most_commas = 0  # between two ends of arrays or objects
        self._commas = 0  # since the last of them
        self._in_text = False

    def take_slice(self, body: bytes) -> None:
        """Look at the next slice."""
        piece = body[self.at : self.at + SLICE_BYTES]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = body[self.at : self.at + SLICE_BYTES + 1]  # an escape is never torn apart
        self.at += len(piece)
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        outside = b"".join(parts[self._in_text :: 2])
        self._in_text ^= len(parts) % 2 == 0
        self.containers += outside.count(b"[") + outside.count(b"{")
        commas = [part.count(b",") for part in outside.replace(b"}", b"]").split(b"]")]
        commas[0] += self._commas
        self.most_commas = max(self.most_commas, *commas)
        self._commas = commas[-1]
