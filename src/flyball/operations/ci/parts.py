"""What a report is made of on the page: sections with tables of cells, whose tones Markdown and HTML show."""

from __future__ import annotations

from typing import Literal

import msgspec

Tone = Literal["", "good", "bad", "warn", "quiet"]

TONES: dict[str, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "warn",
    "broken": "bad",
    "skipped": "quiet",
    "better": "good",
    "worse": "bad",
    "same": "quiet",
    "unclear": "quiet",
}


class Cell(msgspec.Struct, frozen=True):
    """A cell's text; its tone is what the eye sees first. `word`: shown in that tone before the text."""

    text: str
    tone: Tone = ""
    word: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Columns with a name, rows of cells. `numbers`: the columns that are set to the right. `left_out`: of its rows."""

    columns: list[str]
    rows: list[list[Cell]]
    numbers: frozenset[int] = frozenset()
    left_out: int = 0
    caption: str = ""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report. `open`: shown at once; else folded. `chart`: the drawing that belongs to it, by name."""

    title: str
    tables: list[Table] = []
    intro: str = ""
    open: bool = False
    chart: str | None = None
