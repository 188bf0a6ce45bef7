"""The report as Markdown that reads the same on GitHub and GitLab; whatever users made is text in it, never markup.

Two forms are written. The file stands next to its charts and shows them by relative links. A comment has no files next
to it, and code hosts strip `data:` images, so the comment is words and tables only and names the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import ascii_letters, digits

from flyball.operations.ci.contents import facts, headline, sections
from flyball.operations.ci.figures import visible
from flyball.operations.ci.parts import Cell, Section, Table, Tone
from flyball.operations.ci.report import CiReport, Link
from flyball.operations.ci.shortening import fit

MOST_FILE_BYTES = 199_000
MOST_COMMENT_BYTES = 60_000  # GitHub takes 65,536 characters

_MARKS: dict[str, str] = {"good": "✅", "bad": "❌", "warn": "⚠️", "quiet": "➖"}
_VERDICT_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "broken": "🛑"}
# Written as entities, these are letters wherever Markdown looks for a sign: tables, links, code, emphasis, HTML, math.
_SIGNS = re.compile(r"[&<>`*|\\~\[\]{}$!^#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
# Hosts look for these in the finished text: people, groups, issues, merge requests, milestones, labels, emoji, links.
# A zero-width space after the sign leaves the sight and takes the meaning.
_REFERENCES = re.compile(
    r"[@#%](?=\S)|(?<=:)(?=//)|:(?=[\w+-]+:)|\b(?:www(?=\.)|GH(?=-\d)|GL(?=-\d))", re.IGNORECASE
)
_HOST_SIGNS = frozenset("&!~$^[{*")
_GAP = "&#8203;"
_LINK_LETTERS = frozenset(ascii_letters + digits + "-._~:/?#@!$&*+,;=%")
# Hebrew, Arabic and the other scripts that are written from right to left.
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)


def write_markdown(report: CiReport, *, charts: Mapping[str, str] | None = None) -> str:
    """The report as a file of less than 200 KB. `charts`: where its drawings are, relative to it, by their names."""
    return fit(report, lambda short: _document(short, charts=charts or {}, full=None), MOST_FILE_BYTES)


def write_comment(report: CiReport, *, full: Link | None = None) -> str:
    """The report for a pull request, below every host's limit. `full`: where the whole report is, with its charts."""
    return fit(report, lambda short: _document(short, charts={}, full=full), MOST_COMMENT_BYTES)


def escape(text: str) -> str:
    """A text that stays what it says on every code host, in a paragraph, a table, a heading or HTML.

    Line ends become spaces, characters that can't be seen a mark, and nothing in it links, mentions or notifies. What
    stands between two backticks is shown as code.

    >>> escape("roc_auc | @ops"), escape("see `a|b`")
    ('roc_auc &#124; @&#8203;ops', 'see <code>a&#124;b</code>')
    """
    line = visible(" ".join(text.split()))
    parts = line.split("`")
    if len(parts) % 2 == 1:
        written = "".join(
            f"<code>{_quiet(part)}</code>" if place % 2 and part else _quiet(part)
            for place, part in enumerate(parts)
        )
    else:
        written = _quiet(line)
    # At the start of an item, these would begin a list of their own.
    written = re.sub(
        r"^([-+]|\d{1,9}[.)])(?= |$)", lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", written
    )
    # Writing from right to left would take what stands beside it along.
    if _RIGHT_TO_LEFT.search(line):
        written = f"&lrm;{written}&lrm;"
    return written


def _quiet(line: str) -> str:
    parts = []
    position = 0
    for found in _REFERENCES.finditer(line):
        parts.append(_entities(line[position : found.end()]) + _GAP)
        position = found.end()
    return "".join(parts) + _entities(line[position:])


def _entities(text: str) -> str:
    return _SIGNS.sub(lambda found: f"&#{ord(found[0])};" + (_GAP if found[0] in _HOST_SIGNS else ""), text)


def link(one: Link) -> str:
    """A link to a web page; of any other address only the words."""
    if not re.fullmatch(r"https?://[^\s\x00-\x20]+", one.url):
        return escape(f"{one.name}: {one.url}")
    safe = "".join(char if char in _LINK_LETTERS else _percent(char) for char in one.url)
    return f"[{escape(one.name)}](<{safe}>)"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))


def _document(report: CiReport, *, charts: Mapping[str, str], full: Link | None) -> str:
    blocks = [f"## {_VERDICT_MARKS[report.outcome]} {escape(headline(report))}"]
    reasons = [escape(reason) for reason in report.because]
    if hidden := report.left_out.get("because", 0):
        reasons.append(f"and {hidden} more")
    if len(reasons) == 1:
        blocks.append(f"**Why:** {reasons[0]}")
    elif reasons:
        blocks.append("**Why:**\n" + "\n".join(f"- {reason}" for reason in reasons))
    blocks.append(f"**What to do:** {escape(report.what_to_do)}")
    blocks.append("<sub>" + " · ".join(escape(fact) for fact in facts(report)) + "</sub>")
    for section in sections(report):
        blocks += write_section(section, charts)
    links = [*([full] if full is not None else []), *report.links]
    if links:
        blocks.append("More: " + " · ".join(link(one) for one in links))
    return "\n\n".join(blocks) + "\n"


def write_section(section: Section, charts: Mapping[str, str]) -> Iterable[str]:
    """The blocks of a section. charts: where its drawings are, by their names."""
    if section.open:
        yield f"### {escape(section.title)}"
    else:
        yield f"<details>\n<summary>{escape(section.title)}</summary>"
    if section.intro and not section.open:
        yield escape(section.intro)
    if section.chart is not None and section.chart in charts:
        yield f"![{escape(section.title)}](<{charts[section.chart]}>)"
    for table in section.tables:
        yield from _table(table)
    if section.intro and section.open:
        yield f"<sub>{escape(section.intro)}</sub>"
    if not section.open:
        yield "</details>"


def _table(table: Table) -> Iterable[str]:
    if table.caption:
        yield f"**{escape(table.caption)}**"
    head = "| " + " | ".join(escape(name) for name in table.columns) + " |"
    rule = (
        "|"
        + "|".join("---:" if index in table.numbers else "---" for index in range(len(table.columns)))
        + "|"
    )
    rows = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    yield "\n".join([head, rule, *rows])
    if table.left_out:
        yield f"… and {table.left_out:,} more, left out here"


def _cell(cell: Cell) -> str:
    words = [_mark(cell.tone) if cell.word else "", escape(cell.word), escape(cell.text)]
    return " ".join(word for word in words if word)


def _mark(tone: Tone) -> str:
    return _MARKS.get(tone, "")
