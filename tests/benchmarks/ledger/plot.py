"""Throughput over requests in flight as an SVG picture, drawn by hand: no library, no embedded font."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 940
HEIGHT: Final = 460
LEFT: Final = 70
RIGHT: Final = 650
TOP: Final = 60
BOTTOM: Final = 390
GRID_LINES_MAX: Final = 8
LABEL_HEIGHT: Final = 17
INK: Final = "#1f2933"
PALE: Final = "#d8dee6"
SOFT: Final = "#5a6675"


@dataclass(frozen=True, slots=True)
class Line:
    """One target's throughput by requests in flight; a constant is drawn all across."""

    label: str
    colour: str
    points: tuple[tuple[int, float], ...]
    is_dashed: bool = False


def draw_plot(title: str, subtitle: str, lines: Sequence[Line], levels: Sequence[int]) -> str:
    """Return the picture; the vertical axis begins at zero."""
    most_per_s = max((per_s for line in lines for _, per_s in line.points), default=1.0)
    step = _round_up(most_per_s / GRID_LINES_MAX)
    top_per_s = step * math.ceil(most_per_s / step)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 26, title, size=16, weight="bold"),
        _text(LEFT, 45, subtitle, colour=SOFT),
        *_grid(step, top_per_s),
        *_levels(levels),
    ]
    places = _label_places([_y(line.points[-1][1], top_per_s) for line in lines])
    for line, label_y in zip(lines, places, strict=True):
        parts += _draw(line, levels, top_per_s, label_y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(step: float, top_per_s: float) -> list[str]:
    parts = []
    for number in range(round(top_per_s / step) + 1):
        y = _y(number * step, top_per_s)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="{PALE}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{number * step:,.0f}", colour=SOFT, anchor="end"))
    return parts


def _levels(levels: Sequence[int]) -> list[str]:
    names = [
        _text(_x(level, levels), BOTTOM + 20, str(level), colour=SOFT, anchor="middle") for level in levels
    ]
    middle = (LEFT + RIGHT) / 2
    return [*names, _text(middle, BOTTOM + 42, "requests in flight", colour=SOFT, anchor="middle")]


def _draw(line: Line, levels: Sequence[int], top_per_s: float, label_y: float) -> list[str]:
    points = line.points
    if len(points) == 1:
        points = ((levels[0], points[0][1]), (levels[-1], points[0][1]))
    path = " ".join(f"{_x(level, levels):.1f},{_y(per_s, top_per_s):.1f}" for level, per_s in points)
    dash = ' stroke-dasharray="6 4"' if line.is_dashed else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2.2"{dash}/>']
    if not line.is_dashed:
        spots = [(_x(level, levels), _y(per_s, top_per_s)) for level, per_s in points]
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{line.colour}"/>' for x, y in spots]
    label = f"{line.label}: {max(per_s for _, per_s in points):,.0f}/s"
    return [*parts, _text(RIGHT + 20, label_y + 4, label, colour=line.colour)]


def _label_places(wanted: Sequence[float]) -> list[float]:
    """Return where labels go so that none covers another, each as near to its line's end as may be."""
    places = list(wanted)
    below = -math.inf
    for index in sorted(range(len(places)), key=lambda each: wanted[each]):
        below = places[index] = max(wanted[index], below + LABEL_HEIGHT)
    return places


def _x(level: int, levels: Sequence[int]) -> float:
    first, last = math.log2(levels[0]), math.log2(levels[-1])
    return LEFT + (RIGHT - LEFT) * (math.log2(level) - first) / max(1e-9, last - first)


def _y(per_s: float, top_per_s: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * per_s / top_per_s


def _round_up(value: float) -> float:
    """Return the next 1, 2, 2.5 or 5 times a power of ten.

    >>> _round_up(7_612), _round_up(950), _round_up(2_100)
    (10000.0, 1000.0, 2500.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = INK,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
