"""Writes the demo's report: `report.json` for programs, `report.html` for people, self-contained, no script."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 920, 300, 46, 34
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667; --line: #2563eb; --mark: #c2410c; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaf0; --soft: #9aa3b2; --line: #7aa7ff; --mark: #fb923c; --paper: #14181f; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } svg { width: 100%; height: auto; }
.soft { color: var(--soft); } .big { font-size: 1.25rem; } code { word-break: break-all; }
@media (max-width: 40rem) { th, td { padding: .3rem .3rem; font-size: .9rem; } }
"""


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write both files into a folder."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, default=str))
    (folder / "report.html").write_text(_page(report))


def _page(report: dict[str, Any]) -> str:
    low, high = report["gain_interval"]
    sent, lost = report["predictions"]["sent"], report["lost"]
    verdict = (
        f"The frozen model was wrong by {report['frozen']:.1f} rentals an hour; with the loop it was "
        f"{report['served']:.1f}: {report['gain']:.1f} better (95 % interval {low:.1f} to {high:.1f}), by "
        f"{report['retrainings']} retrainings and {report['promotions']} promotions. "
        f"{lost} of {sent} predictions were lost."
    )
    fault = report["fault"]
    parts = [
        "<h1>Bike sharing: eighteen months in one loop</h1>",
        f'<p class="big">{escape(verdict)}</p>',
        _table(report),
        "<h2>Error by week</h2>",
        _chart(report["series"]),
        "<h2>What happened</h2>",
        _story(report["story"]),
        "<h2>Faults fed in</h2>",
        f"<p><b>{escape(fault['what'])}</b>: {escape(str(fault['alarm']))}. "
        f"{'Held' if fault['held'] else 'Not held'}; {fault['trained']} versions trained on it.</p>",
        f"<p><b>A worse candidate</b>: {escape(report['worse_candidate']['state'])}. "
        f"{escape(report['worse_candidate']['because'])}</p>",
        "<h2>One prediction, traced</h2>",
        _trace(report["trace"]),
    ]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><style>{STYLE}</style>"
    head += "<title>Flyball demo</title>"
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
        f"<td class=n>{count}</td></tr>"
        for name, error, bounds, count in rows
    )
    return (
        "<table><tr><th></th><th class=n>mean absolute error</th><th class=n>95 % interval</th>"
        "<th class=n>retrainings</th></tr>"
        f"{cells}</table><p class=soft>Intervals: moving-block bootstrap, blocks of 7 days.</p>"
    )


def _chart(series: dict[str, Any]) -> str:
    windows = [window for window in series["windows"] if window["loss"] is not None]
    if len(windows) < 2:
        return "<p class=soft>Too few windows to draw.</p>"
    starts = [window["start"] for window in windows]
    top = 1.1 * max(window["loss"] for window in windows)

    def x(start: str) -> float:
        position = next((i for i, at in enumerate(starts) if at >= start), len(starts) - 1)
        return LEFT + (WIDTH - LEFT - 8) * position / (len(starts) - 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 10) * value / top

    line = " ".join(f"{x(w['start']):.1f},{y(w['loss']):.1f}" for w in windows)
    marks = "".join(
        f'<line x1="{x(e["at"]):.1f}" x2="{x(e["at"]):.1f}" y1="10" y2="{HEIGHT - BOTTOM}" stroke="var(--mark)" '
        f'stroke-dasharray="3 3"><title>{escape(e["at"][:10])} {escape(e["text"])}</title></line>'
        for e in series["events"]
        if e["kind"] == "promoted"
    )
    step = max(1, len(windows) // 8)
    labels = "".join(_text(x(at), HEIGHT - 12, at[:7], "middle") for at in starts[::step])
    grid = "".join(
        _text(LEFT - 6, y(top * share), f"{top * share:.0f}", "end") for share in (0.0, 0.25, 0.5, 0.75)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Mean absolute error of each week">'
        f'{grid}{labels}{marks}<polyline points="{line}" fill="none" stroke="var(--line)" stroke-width="2"/></svg>'
        "<p class=soft>Mean absolute error of each week's answers; dashed: a candidate was promoted.</p>"
    )


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="var(--soft)" text-anchor="{anchor}">{content}</text>'


def _story(story: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(item['at'])}</td><td>{escape(item['kind'])}</td><td>{escape(item['text'])}</td></tr>"
        for item in story
    )
    return f"<table><tr><th>model time</th><th>what</th><th></th></tr>{rows}</table>"


def _trace(trace: dict[str, Any]) -> str:
    replayed = "identical" if trace["replayed"]["identical"] else "different"
    rows = "".join(
        f"<tr><td>{escape(step['what'])}</td><td><code>{escape(step['name'])}</code></td></tr>"
        for step in trace["prediction"]["lineage"]
    )
    return f"<p>Answered again by the same version: {replayed}.</p><table>{rows}</table>"
