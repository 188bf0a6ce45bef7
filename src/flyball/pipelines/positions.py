"""Where each key of a TOML document stands, so that an error can name its line; `tomllib` keeps no positions."""

from __future__ import annotations

import contextlib
import tomllib

Path = tuple[str | int, ...]
Lines = dict[Path, int]


def find_lines(text: str) -> Lines:
    """The line (from 1) of every key and array element of a TOML document that `tomllib` has accepted.

    Paths are tuples of keys and of indexes into arrays: `("gates", 0, "metric")`. Meant for valid documents; of an
    invalid one the lines found before the fault are returned.

    >>> find_lines('[model]\\nname = "a"')[("model", "name")]
    2
    """
    scanner = _Scanner(text)
    with contextlib.suppress(IndexError):  # cut off in the middle: what was found so far stands
        scanner.document()
    return scanner.lines


def dotted(path: Path) -> str:
    """A path as people write it: `gates[0].metric`.

    >>> dotted(("data", "join", 1, "on"))
    'data.join[1].on'
    """
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += ("." if words else "") + part
    return words


class _Scanner:
    """Walks a valid document once, counting lines; values are skipped, only their extent matters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: Lines = {}
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip(" \t\r\n"):
            if self.text.startswith("[[", self.at):
                self._step(2)
                table = self._resolve(self._key())
                count = self._counts.get(table, 0)
                self._counts[table] = count + 1
                table = (*table, count)
                self.lines[table] = self.line
                self._rest_of_line()
            elif self.text[self.at] == "[":
                self._step(1)
                table = self._resolve(self._key())
                self._rest_of_line()
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        key = self._key()
        path = (*table, *key)
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length])
        self._skip(" \t")
        self._step(1)  # the =
        self._skip(" \t")
        self._value(path)

    def _resolve(self, key: Path) -> Path:
        """A header's path with the index of the latest element wherever it goes through an array of tables."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            self._note(path)
            if number < len(key) - 1 and path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self.line)

    def _key(self) -> Path:
        parts: list[str | int] = []
        while True:
            self._skip(" \t")
            start = self.at
            if self.text[self.at] in "\"'":
                self._string()
                parts.append(_unquote(self.text[start : self.at]))
            else:
                while self.text[self.at] not in " \t\r\n.=]":
                    self.at += 1
                parts.append(self.text[start : self.at])
            self._skip(" \t")
            if self.text[self.at] != ".":
                return tuple(parts)
            self._step(1)

    def _value(self, path: Path) -> None:
        character = self.text[self.at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _array(self, path: Path) -> None:
        self._step(1)
        count = 0
        while self._skip(" \t\r\n,") and self.text[self.at] != "]":
            self._note((*path, count))
            self._value((*path, count))
            count += 1
        self._step(1)

    def _inline_table(self, path: Path) -> None:
        self._step(1)
        while self._skip(" \t\r\n,") and self.text[self.at] != "}":
            self._pair(path)
        self._step(1)

    def _string(self) -> None:
        quote = self.text[self.at]
        ends = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self._step(len(ends))
        while not self.text.startswith(ends, self.at):
            self._step(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        self._step(len(ends))
        while len(ends) == 3 and self.at < len(self.text) and self.text[self.at] == quote:
            self._step(1)  # up to two quotes may stand before the closing three

    def _skip(self, blanks: str) -> bool:
        """Pass blanks and comments. False at the end of the document."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                while self.at < len(self.text) and self.text[self.at] != "\n":
                    self.at += 1
            elif self.text[self.at] in blanks:
                self._step(1)
            else:
                return True
        return False

    def _rest_of_line(self) -> None:
        while self.at < len(self.text) and self.text[self.at] != "\n":
            self.at += 1

    def _step(self, count: int) -> None:
        if self.at + count > len(self.text):
            raise IndexError(self.at)
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count


def _unquote(text: str) -> str:
    return next(iter(tomllib.loads(f"{text} = 0")))
