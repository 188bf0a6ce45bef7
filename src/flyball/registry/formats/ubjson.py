"""Universal Binary JSON, as far as XGBoost writes it: read without trusting a single length.

Source: the draft-12 specification at ubjson.org; numbers are big-endian. Arrays of one numeric type become arrays of
numpy.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_INTEGERS = frozenset((b"i", b"U", b"I", b"l", b"L"))
_TYPES = {b"i": "i1", b"U": "u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_DEEPEST = 32


def decode(data: bytes) -> Any:
    """The value in these bytes, which must hold nothing else. Raises ValueError."""
    reader = _Reader(data)
    value = reader.value(reader.take(1), 0)
    if reader.position != len(data):
        raise ValueError(f"{len(data) - reader.position} bytes behind the end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self._data) - self.position:
            raise ValueError(f"{count} bytes announced at {self.position}, of {len(self._data)}")
        taken = self._data[self.position : self.position + count]
        self.position += count
        return taken

    def value(self, marker: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker == b"S":
            return self._string()
        if marker == b"{":
            return self._object(depth)
        if marker == b"[":
            return self._array(depth)
        if marker in (b"T", b"F", b"Z"):
            return {b"T": True, b"F": False, b"Z": None}[marker]
        raise ValueError(f"unknown marker {marker!r} at {self.position}")

    def _number(self, marker: bytes) -> Any:
        form = _NUMBERS[marker]
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def _length(self) -> int:
        marker = self.take(1)
        if marker not in _INTEGERS:
            raise ValueError(f"a length of type {marker!r}")
        length = int(self._number(marker))
        if not 0 <= length <= len(self._data) - self.position:
            raise ValueError(f"a length of {length} at {self.position}, of {len(self._data)}")
        return length

    def _string(self) -> str:
        return self.take(self._length()).decode()

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._data[self.position : self.position + 1] != b"}":
            key = self._string()
            if key in found:
                raise ValueError(f"{key[:40]!r} is there twice")
            found[key] = self.value(self.take(1), depth + 1)
        self.position += 1
        return found

    def _array(self, depth: int) -> list[Any] | NDArray[np.generic]:
        kind = None
        if self._peek() == b"$":
            self.position += 1
            kind = self.take(1)
        if self._peek() == b"#":
            self.position += 1
            count = self._length()
            if kind is not None:
                return self._typed(kind, count)
            return [self.value(self.take(1), depth + 1) for _ in range(count)]
        if kind is not None:
            raise ValueError("an array of one type without its length")
        items = []
        while self._peek() != b"]":
            items.append(self.value(self.take(1), depth + 1))
        self.position += 1
        return items

    def _typed(self, kind: bytes, count: int) -> NDArray[np.generic]:
        import numpy as np

        if kind not in _TYPES:
            raise ValueError(f"an array of type {kind!r}")
        dtype = np.dtype(_TYPES[kind])
        return np.frombuffer(self.take(count * dtype.itemsize), dtype=dtype)

    def _peek(self) -> bytes:
        return self._data[self.position : self.position + 1]
