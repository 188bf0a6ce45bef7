"""Writes the demo's report: `report.json` for programs, `report.html` for people, self-contained, no script."""

from __future__ import annotations

import json
import math
import re
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 920, 300, 52, 24, 36
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6472; --line: #2563eb; --mark: #c2410c; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaf0; --soft: #9aa3b2; --line: #7aa7ff; --mark: #fb923c; --paper: #14181f; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: clamp(1.5rem, 6vw, 2rem); line-height: 1.2; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.k { white-space: nowrap; }
td.k { color: var(--soft); font-variant-numeric: tabular-nums; } .incident, .promoted { font-weight: 600; }
td.incident { color: var(--mark); } td.promoted { color: var(--line); }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--soft); }
.soft { color: var(--soft); } .big { font-size: 1.25rem; } .id { word-break: break-all; }
summary { cursor: pointer; margin: 1rem 0; color: var(--soft); }
@media (max-width: 40rem) {
  th, td { padding: .3rem .3rem; font-size: .9rem; } .big { font-size: 1.1rem; }
  svg text { font-size: 26px; } svg .second { display: none; }
  .story tr { display: block; padding: .4rem 0; border-bottom: 1px solid #8884; }
  .story td { display: inline-block; border: 0; padding: 0 .6rem 0 0; } .story td:last-child { display: block; }
}
"""


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write both files into a folder."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, default=str), encoding="utf-8")
    (folder / "report.html").write_text(_page(report), encoding="utf-8")


def _page(report: dict[str, Any]) -> str:
    low, high = report["gain_interval"]
    sent, lost = report["predictions"]["sent"], report["lost"]
    verdict = (
        f"The frozen model was wrong by {report['frozen']:.1f} rentals an hour; with the loop it was "
        f"{report['served']:.1f}: {report['gain']:.1f} better (95\u00a0% interval {low:.1f} to {high:.1f}), by "
        f"{report['retrainings']} retrainings and {report['promotions']} promotions. "
        f"{lost} of {sent:,} predictions were lost."
    )
    fault, worse = report["fault"], report["worse_candidate"]
    parts = [
        "<h1>Bike sharing: eighteen months in one loop</h1>",
        f'<p class="big">{escape(verdict)}</p>',
        _table(report),
        "<h2>Error by week</h2>",
        _chart(report["series"]),
        "<h2>What happened</h2>",
        _story(report["story"]),
        "<h2>Faults fed in</h2>",
        f"<p><b>{_prose(fault['what'])}</b>: {_prose(str(fault['alarm']))}. Training was "
        f"{'held' if fault['held'] else 'not held'}; {fault['trained']:d} versions were trained on it.</p>",
        f"<p><b>A worse candidate</b> was {_prose(worse['state'])}: {_prose(worse['because'])}.</p>",
        "<h2>One prediction, traced</h2>",
        _trace(report["trace"]),
    ]
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
    head += f"<style>{STYLE}</style><title>Flyball demo</title>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def _table(report: dict[str, Any]) -> str:
    calm = report["shuffled"]
    monthly = report["monthly"], report["monthly_interval"], report["monthly_retrainings"]
    rows = [
        ("First model, frozen", report["frozen"], report["frozen_interval"], 0),
        ("Retrained monthly, nothing proven", *monthly),
        ("Flyball", report["served"], report["served_interval"], report["retrainings"]),
        ("Flyball, the same rows shuffled", calm["served"], calm["served_interval"], calm["retrainings"]),
    ]
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td class=n>{error:.1f}</td><td class=n>{bounds[0]:.1f} to {bounds[1]:.1f}</td>"
        f"<td class=n>{count:d}</td></tr>"
        for name, error, bounds, count in rows
    )
    return (
        "<table><tr><th></th><th class=n>mean absolute error</th><th class=n>95&nbsp;% interval</th>"
        "<th class=n>retrainings</th></tr>"
        f"{cells}</table><p class=soft>Intervals: moving-block bootstrap, blocks of 7 days.</p>"
    )


def _chart(series: dict[str, Any]) -> str:
    windows = [window for window in series["windows"] if window["loss"] is not None]
    if len(windows) < 2:
        return "<p class=soft>Too few windows to draw.</p>"
    starts = [window["start"] for window in windows]
    tick = _round_step(max(window["loss"] for window in windows) / 4)
    ticks = [tick * number for number in range(5)]
    top = max(ticks[-1], 1.05 * max(window["loss"] for window in windows))

    def x(start: str) -> float:
        position = next((i for i, at in enumerate(starts) if at >= start), len(starts) - 1)
        return LEFT + (WIDTH - LEFT - 8) * position / (len(starts) - 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top

    line = " ".join(f"{x(w['start']):.1f},{y(w['loss']):.1f}" for w in windows)
    marks = "".join(
        f'<line x1="{x(e["at"]):.1f}" x2="{x(e["at"]):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="var(--mark)" '
        f'stroke-dasharray="3 3"><title>{escape(e["at"][:10])} {escape(e["text"])}</title></line>'
        for e in series["events"]
        if e["kind"] == "promoted"
    )
    step = max(1, len(windows) // 8)
    labels = "".join(
        _text(x(at), HEIGHT - 8, at[:7], "middle" if number else "start", "second" if number % 2 else "")
        for number, at in enumerate(starts[::step])
    )
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#8884"/>'
        + _text(LEFT - 6, y(value) + 4, f"{value:g}", "end")
        for value in ticks
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Mean absolute error of each week">'
        f'{grid}{labels}{marks}<polyline points="{line}" fill="none" stroke="var(--line)" stroke-width="2"/></svg>'
        "<p class=soft>Mean absolute error of each week's answers; dashed: a candidate was promoted.</p>"
    )


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, … that is at least `rough` (above 0)."""
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)


def _text(x: float, y: float, content: str, anchor: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{escape(kind)}">{escape(content)}</text>'


def _prose(text: str) -> str:
    """Text as HTML; what stands in backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _story(story: list[dict[str, Any]]) -> str:
    """What is told of the story; all of it, in the events' own words, to unfold."""
    told = _events([item | {"text": item["told"]} for item in story if item["told"] is not None])
    return f"{told}<details><summary>All {len(story)} events in their own words</summary>{_events(story)}</details>"


def _events(items: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class=k>{escape(item["at"])}</td><td class="k {escape(item["kind"])}">{escape(item["kind"])}</td>'
        f"<td>{_prose(item['text'])}</td></tr>"
        for item in items
    )
    return f"<table class=story>{rows}</table>"


def _trace(trace: dict[str, Any]) -> str:
    replayed = "identical" if trace["replayed"]["identical"] else "different"
    rows = "".join(
        f"<tr><td>{escape(step['what'])}</td><td>{_name(step['name'])}</td></tr>"
        for step in trace["prediction"]["lineage"]
    )
    return f"<p>Answered again by the same version: {replayed}.</p><table>{rows}</table>"


def _name(name: str) -> str:
    """An id or a digest as code, a sentence as text."""
    return _prose(name) if " " in name else f"<code class=id>{escape(name)}</code>"
