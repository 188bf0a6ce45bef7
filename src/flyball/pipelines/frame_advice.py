"""What to do when a booster can't read a polars frame: XGBoost says it obscurely, LightGBM ends the process."""

from __future__ import annotations

import re

_ARROW_TYPE = re.compile(r"Unsupported Arrow type: (\w+)")
_FRAME_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in ')
_COLUMNS = {
    "dictionary": "text columns with listed values",
    "string_view": "text columns",
    "large_string": "text columns",
    "timestamp": "columns of times",
}
_CHOICE = (
    'receive frames = "pandas" ([train] in flyball.toml; text with listed values comes as categories) or "numpy" (as '
    "their codes)"
)


def advice_for(words: str) -> str:
    """What to do about an error that says these words; empty when they are about something else."""
    if "pyarrow" in words and "polars" in words:
        return f"XGBoost reads polars frames through pyarrow, which is not installed: {_CHOICE}, or pass X.to_numpy()"
    if (found := _ARROW_TYPE.search(words)) is not None:
        return f"LightGBM can't read {_COLUMNS.get(found[1], 'such columns')} of a polars frame: {_CHOICE}"
    return ""


class CrashNotes:
    """Reads what a child prints, and tells why LightGBM ended its process, and at which line of the project."""

    def __init__(self) -> None:
        self._arrow_type: str | None = None
        self._where: str | None = None

    def read(self, line: str) -> None:
        """Take note of one line."""
        if (found := _ARROW_TYPE.search(line)) is not None:
            self._arrow_type = found[1]
        elif self._arrow_type and not self._where and "site-packages" not in line:
            # Python's own account of the crash, innermost call first: the library's lines come before the project's.
            frame = _FRAME_LINE.search(line)
            self._where = frame and f"{frame['file'].rsplit('/', 1)[-1]}:{frame['line']}"

    def explanation(self) -> str | None:
        """What happened and what to do; None when this is not why the child ended."""
        if self._arrow_type is None:
            return None
        columns = _COLUMNS.get(self._arrow_type, "columns")
        at = f" at {self._where}" if self._where else ""
        return (
            f"LightGBM ended the process{at}: it was given a polars frame with {columns} (Arrow type "
            f"{self._arrow_type}), which it can't read; {_CHOICE}, or turn these columns into numbers first"
        )
