"""Charts as SVG text: no script, no font and no picture from elsewhere.

They must read on paper without colour too: lines differ by dashes and carry their names, bars
carry their numbers.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from sytff_policy.report.facts import Point
from sytff_policy.report.rows import UTC

WIDTH = 720
_HEIGHT = 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 124, 12, 30
_COLUMNS = 360
"""Points drawn at most: of those that fall together the last one, which is the highest spent."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 365, 730, 1825)),
)
_NS = 1_000_000_000


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
      label: What it is.
      value: Its length, >= 0.
      text: The number written at its end.
    """

    label: str
    value: float
    text: str


def course(points: Sequence[Point], *, title: str) -> Markup:
    """A budget over time: granted, spent, and spent with what is reserved.

    Args:
      points: At least one, in order of time.
      title: Name for those who hear the page rather than see it.
    """
    begin, end = points[0].time_ns, points[-1].time_ns
    if end - begin < 60 * _NS:
        begin, end = begin - 30 * _NS, max(end, begin) + 30 * _NS
    top = max(float(max(p.budget, p.used)) for p in points)
    ticks = _ticks(top)
    height = _HEIGHT - _TOP - _BOTTOM
    breadth = WIDTH - _LEFT - _RIGHT

    def x(time_ns: int) -> float:
        return _LEFT + breadth * (time_ns - begin) / (end - begin)

    def y(value: float) -> float:
        return _TOP + height * (1 - value / ticks[-1])

    thinned = _thin(points, begin, end)
    base = y(0)
    spent = _steps(thinned, lambda p: float(p.spent), x, y, end)
    used = _steps(thinned, lambda p: float(p.used), x, y, end)
    granted = _steps(thinned, lambda p: float(p.budget), x, y, end)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">'
    ]
    for tick in ticks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + breadth}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{tick:g}</text>'
        )
    for second, label in _times(begin, end):
        at = x(second * _NS)
        parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{base:.1f}" y2="{base + 5:.1f}"/>'
            f'<text class="tick" x="{at:.1f}" y="{base + 19:.1f}" text-anchor="middle">{label}'
            "</text>"
        )
    parts += [
        f'<path class="spent-area" d="M{x(thinned[0].time_ns):.1f},{base:.1f} L{spent} '
        f'L{x(end):.1f},{base:.1f} Z"/>',
        f'<path class="used-line" d="M{used}"/>',
        f'<path class="spent-line" d="M{spent}"/>',
        f'<path class="budget-line" d="M{granted}"/>',
    ]
    last = points[-1]
    names = [("budget", last.budget, "budget"), ("spent", last.spent, "spent")]
    if last.used != last.spent:
        names.append(("used", last.used, "with reserved"))
    places = _apart([y(float(value)) for _, value, _ in names])
    for (name, value, text), at in zip(names, places, strict=True):
        parts.append(
            f'<text class="end {name}" x="{_LEFT + breadth + 8}" y="{at + 4:.1f}">{text} '
            f"{float(value):.4g}</text>"
        )
    return Markup("".join(parts) + "</svg>")


def bars(items: Sequence[Bar], *, title: str, longest: float | None = None) -> Markup:
    """Horizontal bars, a line each.

    Args:
      items: The bars, in their order.
      title: Name for those who hear the page rather than see it.
      longest: The value of a bar over the whole breadth; the largest if not given.
    """
    row, label, room = 26, 286, 116
    breadth = WIDTH - label - room
    whole = longest or max((item.value for item in items), default=0) or 1
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {row * len(items)}" role="img" '
        f'aria-label="{escape(title)}">'
    ]
    for number, item in enumerate(items):
        at = number * row
        length = breadth * min(item.value / whole, 1)
        if item.value > 0:
            length = max(length, 1.5)
        parts.append(
            f'<text class="name" x="{label - 10}" y="{at + 17}" text-anchor="end">'
            f"{escape(_short(item.label))}<title>{escape(item.label)}</title></text>"
            f'<rect class="track" x="{label}" y="{at + 5}" width="{breadth}" height="16" rx="2"/>'
            f'<rect class="bar" x="{label}" y="{at + 5}" width="{length:.1f}" height="16" rx="2"/>'
            f'<text class="value" x="{label + breadth + 10}" y="{at + 17}">'
            f"{escape(item.text)}</text>"
        )
    return Markup("".join(parts) + "</svg>")


def _short(text: str, length: int = 44) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 to at least `top`, four to seven of them."""
    if not top > 0:
        return [0.0, 1.0]
    rough = top / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough)
    return [step * n for n in range(math.ceil(top / step * (1 - 1e-9)) + 1)]


def _times(begin: int, end: int) -> list[tuple[int, str]]:
    """Moments to mark, in seconds, with their names in UTC."""
    span = (end - begin) / _NS
    step = next((s for s in _STEPS if span / s <= 6), _STEPS[-1])
    first = math.ceil(begin / _NS / step) * step
    form = "%H:%M" if span < _DAY else "%d %b %H:%M" if step < _DAY else "%d %b %Y"
    return [
        (second, f"{datetime.datetime.fromtimestamp(second, UTC):{form}}")
        for second in range(first, end // _NS + 1, step)
    ]


def _thin(points: Sequence[Point], begin: int, end: int) -> list[Point]:
    kept: dict[int, Point] = {}
    for point in points:
        kept[(point.time_ns - begin) * _COLUMNS // (end - begin)] = point
    return [points[0], *(p for p in kept.values() if p is not points[0])]


def _steps(
    points: Sequence[Point],
    value: Callable[[Point], float],
    x: Callable[[int], float],
    y: Callable[[float], float],
    end: int,
) -> str:
    """A line that stays level until the next point, as `x,y` pairs for a path."""
    made: list[str] = []
    before: float | None = None
    for point in points:
        at, level = x(point.time_ns), y(value(point))
        if before is not None and level != before:
            made.append(f"{at:.1f},{before:.1f}")
        if level != before:
            made.append(f"{at:.1f},{level:.1f}")
        before = level
    made.append(f"{x(end):.1f},{before:.1f}")
    return " L".join(made)


def _apart(places: list[float], gap: float = 14.0) -> list[float]:
    """The same places, moved so that labels at them do not overlap."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for upper, lower in itertools.pairwise(order):
        moved[lower] = max(moved[lower], moved[upper] + gap)
    excess = max(0.0, max(moved) - (_HEIGHT - _BOTTOM))
    return [place - excess for place in moved]
