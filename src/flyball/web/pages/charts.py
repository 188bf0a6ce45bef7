"""Charts as SVG, drawn on the server: pure functions of values that return markup with every text escaped.

Colours come from classes in `console.css`, so one drawing serves light and dark. Each chart is drawn in two sizes, a
wide one and one for phones (scaled down, letters would not be readable); the style sheet shows one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import msgspec
from markupsafe import Markup

from flyball.web.pages.scales import nice_ticks, short_number, time_ticks, value_range

LANES = ("signal", "retraining", "rollout")
LANE_NAMES = {"signal": "alarms", "retraining": "trained", "rollout": "rollouts"}
GLYPHS = {
    "signal": ("signal", "triangle"),
    "incident": ("signal", "triangle"),
    "resolved": ("signal", "ring"),
    "retraining": ("retraining", "square"),
    "rollout": ("rollout", "ring"),
    "running": ("rollout", "ring"),
    "promotion": ("rollout", "disc"),
    "promoted": ("rollout", "disc"),
    "abort": ("rollout", "cross"),
    "aborted": ("rollout", "cross"),
    "undecided": ("rollout", "cross"),
    "rolled_back": ("rollout", "cross"),
}
_LANE_HEIGHT = 18.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One window: its value and what was expected of it (None where unknown), the version that answered, its health."""

    start: datetime
    end: datetime
    value: float | None
    reference: float | None = None
    version: int | None = None
    healthy: bool = True
    rows: int = 0


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, to be marked below the curve. `link` is a path of this console, or empty."""

    at: datetime
    kind: str
    text: str
    link: str = ""


class Size(msgspec.Struct, frozen=True):
    """A drawing's measures, in pixels at full size, and about how many ticks fit."""

    name: str
    width: float
    height: float
    left: float
    time_ticks: int


WIDE = Size("wide", 1000, 300, 62, 9)
NARROW = Size("narrow", 380, 250, 58, 4)


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """A word-sized curve, 120 × 32, with a dot at its last value; a gap where a value is unknown."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    low, span = min(known), (max(known) - min(known)) or 1.0
    step = 112 / max(1, len(values) - 1)
    points = [
        None if value is None else (4 + index * step, 28 - 24 * (value - low) / span)
        for index, value in enumerate(values)
    ]
    last = next(point for point in reversed(points) if point is not None)
    return _markup(
        f'<svg class="spark" viewBox="0 0 120 32" width="120" height="32" role="img" aria-label="{_text(label)}">',
        f'<path class="curve" d="{_path(points)}"/>',
        f'<circle class="last" cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="3"/></svg>',
    )


def metric_chart(samples: Sequence[Sample], marks: Sequence[Mark], name: str, size: Size) -> Markup:
    """The metric of each window over time, beside what training promised, with marks in lanes below.

    name: what the values are, such as "mae". Nothing at all for no samples.
    """
    if not samples:
        return Markup("")
    frame = _Frame(samples, size)
    parts = [
        f'<svg class="chart {size.name}" viewBox="0 0 {size.width:g} {frame.total:g}" role="img" '
        f'aria-label="{_text(describe(samples, marks, name))}">',
        *_grid(frame),
        *_changes_of_version(frame, samples),
        *_reference(frame, samples),
        f'<path class="curve" d="{_path([frame.point(s) for s in samples])}"/>',
        *_dots(frame, samples, name),
        *_lanes(frame, marks),
        "</svg>",
    ]
    return _markup(*parts)


def describe(samples: Sequence[Sample], marks: Sequence[Mark], name: str) -> str:
    """A metric chart in a sentence, for those who do not see it.

    >>> describe([], [], "mae")
    'mae per window: no window has been judged yet'
    """
    known = [sample for sample in samples if sample.value is not None]
    if not known:
        return f"{name} per window: no window has been judged yet"
    values = [sample.value or 0.0 for sample in known]
    text = (
        f"{name} per window from {known[0].start:%Y-%m-%d} to {known[-1].end:%Y-%m-%d}: between "
        f"{short_number(min(values))} and {short_number(max(values))}, last {short_number(values[-1])}"
    )
    if (reference := known[-1].reference) is not None:
        text += f" where {short_number(reference)} was expected"
    return text + (f"; {len(marks)} events, listed below" if marks else "")


def heat_strip(scores: Sequence[float | None], alarms: Sequence[bool], label: str) -> Markup:
    """One feature's drift over time as a strip of cells, darker for more; a bar below a cell marks an alarm.

    scores: 0 for no drift, 1 and above for the darkest; None for a window where it is unknown. The strip stretches to
    the width it is given, so one drawing serves every screen.
    """
    if not scores:
        return Markup("")
    cell = 1000 / len(scores)
    shades: dict[str, list[str]] = {}
    for index, (score, alarm) in enumerate(zip(scores, alarms, strict=True)):
        left = f"M{index * cell:.1f}"
        if score is not None:
            shades.setdefault(f"heat-{heat_level(score)}", []).append(
                f"{left} 0h{cell * 0.94:.1f}v15h-{cell * 0.94:.1f}z"
            )
        if alarm:
            shades.setdefault("alarm", []).append(f"{left} 16h{cell * 0.94:.1f}v4h-{cell * 0.94:.1f}z")
    parts = [f'<path class="{look}" d="{"".join(cells)}"/>' for look, cells in sorted(shades.items())]
    return _markup(
        f'<svg class="heat" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label="{_text(label)}">',
        *parts,
        "</svg>",
    )


def heat_level(score: float) -> int:
    """The shade of a drift score, 0 (none) to 6 (most). Finer steps near zero, where most windows lie.

    >>> [heat_level(score) for score in (0.0, 0.06, 0.3, 0.99)]
    [0, 1, 3, 6]
    """
    return sum(score >= bound for bound in (0.05, 0.12, 0.22, 0.35, 0.5, 0.7))


def glyph(kind: str, x: float = 8.0, y: float = 8.0) -> Markup:
    """The sign of one kind of event, centred on a point; for lanes and for the list of events."""
    _, shape = GLYPHS.get(kind, ("rollout", "ring"))
    look = f"mark mark-{kind if kind in GLYPHS else 'rollout'}"
    if shape == "triangle":
        drawn = f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>'
    elif shape == "square":
        drawn = f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    elif shape == "cross":
        drawn = f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    else:
        drawn = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    return _markup(f'<g class="{look} shape-{shape}">{drawn}</g>')


class _Frame:
    """Where moments and values lie in a drawing."""

    def __init__(self, samples: Sequence[Sample], size: Size) -> None:
        known = [sample.value for sample in samples if sample.value is not None]
        known += [sample.reference for sample in samples if sample.reference is not None]
        self.size = size
        self.ticks = nice_ticks(*value_range(known), 4)
        self.start, self.end = samples[0].start, max(sample.end for sample in samples)
        self.seconds = max(1.0, (self.end - self.start).total_seconds())
        self.top, self.right = 22.0, size.width - 14
        self.bottom = size.height - 30
        self.total = size.height + len(LANES) * _LANE_HEIGHT + 6

    def x(self, moment: datetime) -> float:
        share = (moment - self.start).total_seconds() / self.seconds
        return self.size.left + min(1.0, max(0.0, share)) * (self.right - self.size.left)

    def y(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.bottom - share * (self.bottom - self.top)

    def point(self, sample: Sample) -> tuple[float, float] | None:
        if sample.value is None:
            return None
        return self.x(sample.start + (sample.end - sample.start) / 2), self.y(sample.value)

    def lane(self, index: int) -> float:
        return self.size.height + index * _LANE_HEIGHT + _LANE_HEIGHT / 2


def _grid(frame: _Frame) -> list[str]:
    left, right, bottom = frame.size.left, frame.right, frame.bottom
    parts = []
    for tick in frame.ticks:
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{left:g} {y:.1f}H{right:g}"/>')
        parts.append(f'<text class="tick end" x="{left - 8:g}" y="{y + 4:.1f}">{short_number(tick)}</text>')
    free = 0.0
    for moment, label in time_ticks(frame.start, frame.end, frame.size.time_ticks):
        x, width = frame.x(moment), 6.8 * len(label)
        place, start = "middle", x - width / 2
        if start + width > right:
            place, start = "end", x - width
        elif start < left:
            place, start = "start", x
        parts.append(f'<path class="grid" d="M{x:.1f} {bottom:g}v5"/>')
        if start >= free:  # a label that would run into the one before it is left out; its tick stays
            parts.append(f'<text class="tick {place}" x="{x:.1f}" y="{bottom + 19:g}">{_text(label)}</text>')
            free = start + width + 8
    return parts


def _changes_of_version(frame: _Frame, samples: Sequence[Sample]) -> list[str]:
    parts, before, free = [], None, -1.0
    for sample in samples:
        if sample.version is None or sample.version == before:
            continue
        x = frame.x(sample.start)
        if before is not None:
            parts.append(f'<path class="change" d="M{x:.1f} {frame.top - 18:g}V{frame.bottom:g}"/>')
        # A label that would cover the one before it is left out; the line stays.
        if x >= free and x < frame.right - 24:
            parts.append(
                f'<text class="version" x="{x + 3:.1f}" y="{frame.top - 8:g}">v{sample.version}</text>'
            )
            free = x + 10 + 8 * len(str(sample.version)) + 8
        before = sample.version
    return parts


def _reference(frame: _Frame, samples: Sequence[Sample]) -> list[str]:
    steps: list[tuple[float, float] | None] = []
    for sample in samples:
        if sample.reference is None:
            steps.append(None)
            continue
        y = frame.y(sample.reference)
        steps += [(frame.x(sample.start), y), (frame.x(sample.end), y)]
    path = _path(steps)
    return [f'<path class="reference" d="{path}"/>'] if path else []


def _dots(frame: _Frame, samples: Sequence[Sample], name: str) -> list[str]:
    parts = []
    small = len(samples) > frame.size.width / 14
    for sample in samples:
        point = frame.point(sample)
        if point is None:
            continue
        look = "dot" if sample.healthy else "dot alarmed"
        radius = (1.6 if small else 2.6) if sample.healthy else 4.0
        parts.append(
            f'<circle class="{look}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{radius:g}">'
            f"<title>{_text(_tip(sample, name))}</title></circle>"
        )
    return parts


def _tip(sample: Sample, name: str) -> str:
    text = f"{sample.start:%Y-%m-%d %H:%M} to {sample.end:%Y-%m-%d %H:%M}: {name} {short_number(sample.value or 0.0)}"
    if sample.reference is not None:
        text += f", expected {short_number(sample.reference)}"
    if sample.version is not None:
        text += f", version {sample.version}"
    return text + f", {sample.rows} rows"


def _lanes(frame: _Frame, marks: Sequence[Mark]) -> list[str]:
    parts = []
    for index, lane in enumerate(LANES):
        y = frame.lane(index)
        parts.append(f'<path class="grid" d="M{frame.size.left:g} {y:.1f}H{frame.right:g}"/>')
        parts.append(
            f'<text class="tick end" x="{frame.size.left - 8:g}" y="{y + 4:.1f}">{LANE_NAMES[lane]}</text>'
        )
    for mark in marks:
        if not frame.start <= mark.at <= frame.end + (frame.end - frame.start) * 0.1:
            continue
        lane, _ = GLYPHS.get(mark.kind, ("rollout", "ring"))
        drawn = glyph(mark.kind, frame.x(mark.at), frame.lane(LANES.index(lane)))
        tip = f"<title>{_text(f'{mark.at:%Y-%m-%d %H:%M} {mark.kind}: {mark.text}')}</title>"
        if is_local(mark.link):
            parts.append(f'<a href="{_text(mark.link)}" tabindex="-1">{drawn}{tip}</a>')
        else:
            parts.append(f"<g>{drawn}{tip}</g>")
    return parts


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """SVG path data through points; None lifts the pen."""
    parts, pen_down = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(parts)


def _markup(*parts: str) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - drawn here; every text in it went through _text


def _text(text: str) -> str:
    # XML 1.0 has no control characters, escaped or not.
    return escape(
        "".join(char if char.isprintable() or char == " " else "\ufffd" for char in text), quote=True
    )


def is_local(link: str | None) -> bool:
    """Whether a link leads to a page of this server; `//host` leads to another one."""
    return bool(link) and str(link).startswith("/") and not str(link).startswith("//")
