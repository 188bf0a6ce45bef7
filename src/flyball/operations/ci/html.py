"""The report as one HTML file: no script, nothing fetched, light and dark, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from flyball.operations.ci.charts import NARROW, WIDE, charts
from flyball.operations.ci.contents import facts, headline, sections
from flyball.operations.ci.figures import visible
from flyball.operations.ci.parts import TONES, Cell, Section, Table
from flyball.operations.ci.report import CiReport, Link
from flyball.operations.ci.shortening import fit

MOST_BYTES = 199_000

# The console's colours and badges, small enough to travel with each report.
_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#24292f;--head:#1b1f24;--muted:#59636e;--line:#d5dae0;--link:#0f6b6b;
--good:#14692d;--good-tint:#dcf3e2;--warn:#7d5200;--warn-tint:#fcefd0;--bad:#b4232b;--bad-tint:#fbe3e3;
--quiet:#59636e;--quiet-tint:#eceff2}
@media(prefers-color-scheme:dark){:root{--paper:#13171f;--ink:#d6dce4;--head:#f0f3f7;--muted:#a2acb8;--line:#323a46;
--link:#5cc8c2;--good:#56d07a;--good-tint:#12331d;--warn:#e0b040;--warn-tint:#3a2c0c;--bad:#ff8a84;
--bad-tint:#451a1c;--quiet:#a2acb8;--quiet-tint:#262d38}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:1.25rem 1rem 2rem}
h1{font-size:1.6rem;margin:0 0 .5rem;color:var(--head);overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem;color:var(--head);overflow-wrap:anywhere}
a{color:var(--link)}
.verdict{border:1px solid var(--line);border-left:6px solid var(--quiet);border-radius:.375rem;padding:.9rem 1.1rem}
.verdict.good{border-left-color:var(--good)}.verdict.bad{border-left-color:var(--bad)}
.verdict.warn{border-left-color:var(--warn)}
.verdict p,.verdict ul{margin:.4rem 0 0;overflow-wrap:anywhere}
.muted{color:var(--muted);font-size:.875rem;overflow-wrap:anywhere}
.badge{display:inline-block;padding:.05rem .5rem;border-radius:1rem;font-size:.8125rem;font-weight:600;
white-space:nowrap;background:var(--quiet-tint);color:var(--quiet)}
.badge.good{background:var(--good-tint);color:var(--good)}.badge.warn{background:var(--warn-tint);color:var(--warn)}
.badge.bad{background:var(--bad-tint);color:var(--bad)}
.scroll{overflow-x:auto;margin:0 0 .75rem}
table{border-collapse:collapse;font-size:.9rem;width:100%}
caption{text-align:left;font-weight:600;padding:.5rem 0 .25rem;overflow-wrap:anywhere}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line)}
td{min-width:4rem;max-width:28rem;overflow-wrap:anywhere}
th{font-size:.8125rem;color:var(--muted);white-space:nowrap}
.number{text-align:right;white-space:nowrap}
details{border-top:1px solid var(--line);padding:.6rem 0}
details[open]{padding-bottom:0}
code{font-size:.875em;background:var(--quiet-tint);border-radius:.25rem;padding:.05rem .3rem;overflow-wrap:anywhere}
summary{cursor:pointer;font-weight:600;overflow-wrap:anywhere}
figure{margin:.75rem 0}
figure svg{display:block;max-width:100%;height:auto}
.narrow{display:none}
@media(max-width:640px){.wide{display:none}.narrow{display:block}h1{font-size:1.3rem}
table.stack thead{display:none}table.stack tr{display:block;border-bottom:1px solid var(--line);padding:.4rem 0}
table.stack td{display:grid;grid-template-columns:7rem minmax(0,1fr);border:0;padding:.1rem 0;max-width:none;
text-align:left;white-space:normal}
table.stack td::before{content:attr(data-label);padding-right:.5rem;color:var(--muted);font-size:.8125rem}}
"""


def write_html(report: CiReport) -> str:
    """The report as a page of less than 200 KB that needs nothing beside it."""
    return fit(report, _page, MOST_BYTES)


def _page(report: CiReport) -> str:
    wide, narrow = charts(report, WIDE), charts(report, NARROW)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        # Nothing in this file may run or be fetched, whatever a browser would make of what is in it.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        '<meta name="referrer" content="no-referrer">\n',
        f"<title>{text(headline(report))} · Flyball</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n",
        *_verdict(report),
    ]
    for section in sections(report):
        parts += _section(section, wide, narrow)
    if report.links:
        parts.append("<p>More: " + " · ".join(_link(one) for one in report.links) + "</p>\n")
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def text(value: str) -> str:
    """A text that is never markup; what can't be seen in it is marked."""
    return escape(visible(value, kept="\n"))


def _words(value: str) -> str:
    """A text set apart from what stands beside it, whatever its direction; what is between backticks is code."""
    parts = value.split("`")
    if len(parts) % 2 == 0:
        return f"<bdi>{text(value)}</bdi>"
    shown = [
        f"<code>{text(part)}</code>" if place % 2 and part else text(part) for place, part in enumerate(parts)
    ]
    return f"<bdi>{''.join(shown)}</bdi>"


def _verdict(report: CiReport) -> Iterable[str]:
    yield f'<h1>{text(headline(report))}</h1>\n<div class="verdict {TONES[report.outcome]}">\n'
    reasons = "".join(f"<li>{_words(reason)}</li>" for reason in report.because)
    if hidden := report.left_out.get("because", 0):
        reasons += f"<li>and {hidden} more</li>"
    if len(report.because) == 1 and not hidden:
        yield f"<p><strong>Why:</strong> {_words(report.because[0])}</p>\n"
    elif reasons:
        yield f"<p><strong>Why:</strong></p><ul>{reasons}</ul>\n"
    yield f"<p><strong>What to do:</strong> {_words(report.what_to_do)}</p>\n</div>\n"
    yield '<p class="muted">' + " · ".join(f"{_words(fact)}" for fact in facts(report)) + "</p>\n"


def _section(section: Section, wide: dict[str, str], narrow: dict[str, str]) -> Iterable[str]:
    if section.open:
        yield f"<h2>{text(section.title)}</h2>\n"
    else:
        yield f"<details>\n<summary>{text(section.title)}</summary>\n"
    if section.intro:
        yield f'<p class="muted">{text(section.intro)}</p>\n'
    if section.chart in wide:
        yield f'<figure class="wide">{wide[section.chart]}</figure>\n'
        yield f'<figure class="narrow">{narrow[section.chart]}</figure>\n'
    for table in section.tables:
        yield from _table(table)
    if not section.open:
        yield "</details>\n"


def _table(table: Table) -> Iterable[str]:
    caption = f"<caption>{text(table.caption)}</caption>" if table.caption else ""
    look = [' class="number"' if index in table.numbers else "" for index in range(len(table.columns))]
    heads = "".join(
        f'<th scope="col"{one}>{text(name)}</th>' for one, name in zip(look, table.columns, strict=True)
    )
    yield f'<div class="scroll"><table class="stack">{caption}<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    for row in table.rows:
        cells = "".join(
            f'<td{one} data-label="{text(name)}"><span>{_cell(cell)}</span></td>'
            for one, name, cell in zip(look, table.columns, row, strict=True)
        )
        yield f"<tr>{cells}</tr>\n"
    yield "</tbody></table></div>\n"
    if table.left_out:
        yield f'<p class="muted">… and {table.left_out:,} more, left out here</p>\n'


def _cell(cell: Cell) -> str:
    badge = f'<span class="badge {cell.tone}">{text(cell.word)}</span>' if cell.word else ""
    words = _words(cell.text) if cell.text else ""
    return " ".join(part for part in (badge, words) if part)


def _link(one: Link) -> str:
    if not one.url.startswith(("https://", "http://")):
        return text(f"{one.name}: {one.url}")
    return f'<a href="{text(one.url)}" rel="noopener noreferrer">{text(one.name)}</a>'
