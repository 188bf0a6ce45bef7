"""Charts of a report as SVG: small, self-contained, without script, readable in light and in dark.

A drawing brings its own background and colours, because as a picture beside Markdown it stands on whatever page shows
it. The same drawing is used inline in the HTML report; its classes begin with `fb-`, so that they touch nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flyball.core.values import Interval
from flyball.operations.ci.figures import number, rounded_estimate, visible
from flyball.operations.ci.report import CiReport, Difference, Importance, MetricLine
from flyball.operations.ci.shortening import cut_text, shorten

WIDE, NARROW = 720, 360
MOST_ROWS = 16
_ROW = 40
_EDGE = 14
_STYLE = (
    ".fb-chart{font:12px system-ui,sans-serif}.fb-chart text{stroke:none}"
    ".fb-back{fill:#fff}.fb-text{fill:#24292f}.fb-quiet{fill:#59636e}.fb-zero{stroke:#8a939e}"
    ".fb-better{fill:#14692d;stroke:#14692d}.fb-worse{fill:#b4232b;stroke:#b4232b}"
    ".fb-unclear,.fb-same{fill:#59636e;stroke:#59636e}"
    ".fb-now{fill:#0f6b6b}.fb-before{fill:#b9c2cc}"
    "@media(prefers-color-scheme:dark){"
    ".fb-back{fill:#151b23}.fb-text{fill:#d6dce4}.fb-quiet{fill:#a2acb8}.fb-zero{stroke:#6b7683}"
    ".fb-better{fill:#56d07a;stroke:#56d07a}.fb-worse{fill:#ff8a84;stroke:#ff8a84}"
    ".fb-unclear,.fb-same{fill:#a2acb8;stroke:#a2acb8}"
    ".fb-now{fill:#5cc8c2}.fb-before{fill:#4a5563}}"
)


def charts(report: CiReport, width: int = WIDE) -> dict[str, str]:
    """The drawings of a report by their names (`differences`, `slices`, `importances`); only those with data."""
    short = shorten(report, rows=1000, characters=120)
    against = "champion" if any(line.versus_champion for line in short.metrics) else "base"
    overall = [line for line in short.metrics if line.slice is None]
    slices = [line for line in short.metrics if line.slice is not None]
    drawn = {
        "differences": interval_chart(overall, against, width),
        "slices": interval_chart(slices, against, width),
        "importances": importance_chart(short.importances, width),
    }
    return {name: drawing for name, drawing in drawn.items() if drawing}


def interval_chart(lines: Sequence[MetricLine], against: str, width: int = WIDE) -> str:
    """The paired differences as intervals around 0, better to the right; each line in its own scale.

    against: "champion" or "base". Lines without a difference are left out; nothing at all for none.
    """
    pairs = [(line, line.versus_champion if against == "champion" else line.versus_base) for line in lines]
    shown = [(line, side) for line, side in pairs if side is not None and math.isfinite(side.estimate)]
    if not shown:
        return ""
    parts = []
    for place, (line, side) in enumerate(shown[:MOST_ROWS]):
        parts += _interval(line, side, _EDGE + 22 + place * _ROW, width)
    title = f"Against the {against}: right is better"
    title += ", each line in its own scale" if width >= WIDE else ""
    title += f" (first {MOST_ROWS} of {len(shown)})" if len(shown) > MOST_ROWS else ""
    spoken = "; ".join(
        f"{_name(line)} {rounded_estimate(side.estimate, side.interval)}, {side.label}"
        for line, side in shown[:MOST_ROWS]
    )
    return _frame(title, f"{title}: {spoken}", parts, min(len(shown), MOST_ROWS) * _ROW + 22, width)


def importance_chart(importances: Sequence[Importance], width: int = WIDE) -> str:
    """Bars of the features' importances, now and before; nothing at all for none."""
    shown = [one for one in importances if math.isfinite(one.now)][:MOST_ROWS]
    largest = max(
        [
            abs(value)
            for one in shown
            for value in (one.now, one.before)
            if value is not None and math.isfinite(value)
        ],
        default=0.0,
    )
    if not shown or largest <= 0:
        return ""
    room = width - 2 * _EDGE
    parts = []
    for place, one in enumerate(shown):
        top = _EDGE + 22 + place * _ROW
        before = "new" if one.before is None else f"before {number(one.before)}"
        parts.append(_label(one.feature, f"{number(one.now)}, {before}", top, width, "fb-quiet"))
        for look, value, offset in (("fb-now", one.now, 17), ("fb-before", one.before, 24)):
            if value is not None and math.isfinite(value):
                length = max(1.0, room * abs(value) / largest)
                parts.append(
                    f'<rect class="{look}" x="{_EDGE}" y="{top + offset}" width="{length:.1f}" height="6" rx="1"/>'
                )
    title = "Feature importances: now above, before below"
    spoken = "; ".join(f"{one.feature} {number(one.now)}, before {number(one.before)}" for one in shown)
    return _frame(title, f"{title}: {spoken}", parts, len(shown) * _ROW + 22, width)


def _interval(line: MetricLine, side: Difference, top: int, width: int) -> list[str]:
    sign = 1.0 if line.larger_is_better else -1.0
    ends = _ends(side.interval)
    reach = max(abs(side.estimate), *(abs(end) for end in ends)) if ends else abs(side.estimate)
    middle, half = width / 2, (width / 2 - _EDGE) * 0.94
    scale = half / reach if reach > 0 else 0.0
    label = f"{side.label} {rounded_estimate(side.estimate, side.interval)}"
    axis = top + 24
    parts = [
        _label(_name(line), label, top, width, f"fb-{side.label}"),
        f'<path class="fb-zero" d="M{_EDGE} {axis}h{width - 2 * _EDGE}" stroke-opacity="0.45"/>',
        f'<path class="fb-zero" d="M{middle:g} {axis - 10}v20" stroke-width="1.5"/>',
    ]
    if ends:
        low, high = sorted(middle + sign * scale * end for end in ends)
        parts.append(
            f'<path class="fb-{side.label}" d="M{low:.1f} {axis}H{high:.1f}M{low:.1f} {axis - 4}v8M{high:.1f} '
            f'{axis - 4}v8" stroke-width="2.5"/>'
        )
    point = middle + sign * scale * side.estimate
    parts.append(f'<circle class="fb-{side.label}" cx="{point:.1f}" cy="{axis}" r="4.5"/>')
    return parts


def _ends(interval: Interval | None) -> tuple[float, ...]:
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ()
    return (interval.low, interval.high)


def _name(line: MetricLine) -> str:
    return line.metric if line.slice is None else f"{line.slice} · {line.metric}"


def _label(name: str, value: str, top: int, width: int, look: str) -> str:
    # Letters of 12 pixels are about 6.5 wide; name and value share the line.
    room = max(8, int((width - 2 * _EDGE) / 6.8) - len(value) - 2)
    return (
        f'<text class="fb-text" x="{_EDGE}" y="{top + 10}">{_text(cut_text(name, room))}</text>'
        f'<text class="{look}" x="{width - _EDGE}" y="{top + 10}" text-anchor="end">{_text(value)}</text>'
    )


def _frame(title: str, spoken: str, parts: Sequence[str], height: int, width: int) -> str:
    total = height + 2 * _EDGE
    shown = cut_text(title, int((width - 2 * _EDGE) / 6.3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fb-chart" viewBox="0 0 {width} {total}" width="{width}" '
        f'height="{total}" role="img" aria-label="{_text(spoken)}"><style>{_STYLE}</style>'
        f'<rect class="fb-back" width="{width}" height="{total}" rx="6"/>'
        f'<text class="fb-quiet" x="{_EDGE}" y="{_EDGE + 9}">{_text(shown)}</text>{"".join(parts)}</svg>'
    )


def _text(text: str) -> str:
    return escape(visible(text))
