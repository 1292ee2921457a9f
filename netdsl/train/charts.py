"""Charts as SVG text: lines, a matrix, points. For a white page, and a dark one by `DARK`; no script, no library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

INK, GREY, RULE = "#1c2733", "#5b6874", "#e3e8ed"
GREYED, BLUE, ORANGE = "#8a8f98", "#1f5fbf", "#c2571a"
# What a page in the dark has in the place of these colours, by rules of style for the attributes that hold them.
DARK = {
    INK: "#e4e9ee",
    GREY: "#9aa7b4",
    RULE: "#2c353f",
    GREYED: "#8b95a1",
    BLUE: "#6ea8ff",
    ORANGE: "#f0955a",
}
WIDTH, HEIGHT = 360, 214  # of a chart of lines
LONGEST = 24  # characters of the name of a class
HUGE = 1e300  # numbers from here on are not drawn: the axis could not hold them
POINTS = 600  # that a curve is drawn with at most
Format: TypeAlias = Callable[[float], str]
FONT = 'font-family="Helvetica,Arial,sans-serif"'


@dataclass(frozen=True)
class Line:
    """Points of one curve, in the order of `x`; those that are no finite number are gaps."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = BLUE
    dashed: bool = False


@dataclass(frozen=True)
class Frame:
    """The place of the axes on the paper, and what they span."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False

    def across(self, value: float) -> float:
        low, high = self.x
        return self.left + self.width * (value - low) / ((high - low) or 1)

    def up(self, value: float) -> float:
        low, high = self.y
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.top + self.height * (1 - (value - low) / ((high - low) or 1))


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str = "epoch",
    mark: float | None = None,
    share: bool = False,
) -> str:
    """Curves over one axis; `mark` is an upright line where the best epoch is, `share` writes values as percentages.

    Values that span more than two decades are drawn on a logarithmic axis.
    """
    finite = [y for line in lines for y in line.y if abs(y) < HUGE]
    x = [value for line in lines for value in line.x]
    if not finite or not x:
        return ""
    low, high = min(finite), max(finite)
    log = low > 0 and high / low > 100
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    elif not log:
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    ticks = _decades(low, high) if log else _ticks(low, high)
    said = _percent if share else _number
    left = 14 + 6.2 * max((len(said(t)) for t in ticks), default=0)
    frame = Frame(left, 34, WIDTH - left - 12, 138, (min(x), max(x)), (low, high), log)
    parts = [*_axes(frame, ticks, title, x_label, said)]
    if mark is not None:
        parts += _mark(frame, mark, lines)
    for line in lines:
        parts += _curve(line, frame)
    return _svg(WIDTH, HEIGHT, [*parts, *_legend(lines, frame)], title)


def _mark(frame: Frame, at: float, lines: Sequence[Line]) -> Iterator[str]:
    """An upright line with its place, and a ring around the value that the last curve has there."""
    x = frame.across(at)
    yield _rule(x, frame.top, x, frame.top + frame.height, ORANGE, 'stroke-dasharray="2 3"')
    side = "end" if x > frame.left + frame.width / 2 else "start"
    yield _text(x + (-4 if side == "end" else 4), frame.top - 3, f"best {at:g}", 9, side, colour=ORANGE)
    for place, value in zip(lines[-1].x, lines[-1].y, strict=True):
        if place == at and abs(value) < HUGE:
            yield (
                f'<circle cx="{x:.1f}" cy="{frame.up(value):.1f}" r="4.2" fill="none" stroke="{ORANGE}" '
                'stroke-width="1.4"/>'
            )


def _curve(line: Line, frame: Frame) -> Iterator[str]:
    dash = ' stroke-dasharray="5 3"' if line.dashed else ""
    pieces = list(_pieces(thinned(list(zip(line.x, line.y, strict=True)))))
    for piece in pieces:
        points = [(frame.across(x), frame.up(y)) for x, y in piece]
        if len(points) > 1:
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline points="{way}" fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}/>'
        if len(points) == 1 or sum(map(len, pieces)) < 30:
            for x, y in points:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.1" fill="{line.colour}"/>'


def _pieces(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The parts of a curve between those of its points that are no finite number."""
    piece: list[tuple[float, float]] = []
    for x, y in points:
        if abs(y) < HUGE:
            piece.append((x, y))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most about `most` of `points`, in their order: of each stretch its lowest and its highest, so that no peak is
    lost, and the first and the last.

    >>> thinned([(i, i % 10) for i in range(100)], 20)[:4]
    [(0, 0), (9, 9), (10, 0), (19, 9)]
    """
    if len(points) <= most:
        return list(points)
    stretch = -(-2 * len(points) // most)
    kept = {0, len(points) - 1}
    for start in range(0, len(points), stretch):
        numbers = range(start, min(start + stretch, len(points)))
        known = [i for i in numbers if math.isfinite(points[i][1])]
        kept |= {i for i in numbers if not math.isfinite(points[i][1])} if not known else set()
        if known:
            kept |= {min(known, key=lambda i: points[i][1]), max(known, key=lambda i: points[i][1])}
    return [points[i] for i in sorted(kept)]


def _axes(
    frame: Frame,
    ticks: Sequence[float],
    title: str,
    x_label: str,
    said: Format | None = None,
    *,
    whole: bool = True,
) -> Iterator[str]:
    """The axes, with numbers at `ticks` as `said`; `whole` is for an x of whole numbers."""
    right, bottom = frame.left + frame.width, frame.top + frame.height
    yield _text(frame.left, 14, title, size=12, weight="bold")
    for tick in ticks:
        y = frame.up(tick)
        yield _rule(frame.left, y, right, y, RULE)
        yield _text(frame.left - 6, y + 3.5, (said or _number)(tick), anchor="end")
    for tick in _ticks(*frame.x, whole=whole, most=6):
        x = frame.across(tick)
        yield _rule(x, bottom, x, bottom + 4, GREY)
        yield _text(x, bottom + 15, _number(tick), anchor="middle")
    yield _rule(frame.left, bottom, right, bottom, GREY)
    yield _text(frame.left + frame.width / 2, bottom + 30, x_label, anchor="middle")


def _legend(lines: Sequence[Line], frame: Frame) -> Iterator[str]:
    right = frame.left + frame.width
    for line in reversed(lines if len(lines) > 1 else ()):
        right -= 6.2 * len(line.name) + 26
        dash = 'stroke-width="1.6"' + (' stroke-dasharray="5 3"' if line.dashed else "")
        yield _rule(right, 10.5, right + 18, 10.5, line.colour, dash)
        yield _text(right + 22, 14, line.name)


def sparkline(lines: Sequence[Line]) -> str:
    """Curves without axes, each over its own range, as small as a word."""
    parts: list[str] = []
    for line in lines:
        finite = [y for y in line.y if abs(y) < HUGE]
        if finite:
            spread = (
                (min(finite), max(finite)) if min(finite) < max(finite) else (finite[0] - 1, finite[0] + 1)
            )
            frame = Frame(4, 4, 152, 40, (min(line.x), max(line.x)), spread)
            parts += _curve(line, frame)
    return _svg(160, 48, parts, ", ".join(line.name for line in lines))


def matrix_chart(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion matrix: a row of each true class, a column of each predicted one, shaded by its share of the row."""
    count = len(counts)
    names = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    digits = max((len(str(n)) for row in counts for n in row), default=1)
    cell = max(7.0, min(64.0 if count <= 3 else max(34.0, 6.5 * digits), 520 / count))
    labels = cell >= 9
    longest = 6.0 * max(map(len, names)) if labels else 0.0
    flat = longest <= cell + 4  # labels of columns need not be turned
    left = 30 + longest
    top = 28 + (12 if flat else longest + 6)
    parts = [
        _text(left, 14, "predicted →", size=11),
        f'<g transform="translate(13 {top + cell * count / 2:.1f}) rotate(-90)">'
        f"{_text(0, 0, '← true', 11, 'middle')}</g>",
    ]
    for i, (row, name) in enumerate(zip(counts, names, strict=True)):
        y = top + cell * i
        if labels:
            parts.append(_text(left - 6, y + cell / 2 + 3.5, name, anchor="end"))
            x = left + cell * (i + 0.5) + (0 if flat else 3.5)
            turned = f"translate({x:.1f} {top - 6:.1f}) rotate({0 if flat else -90})"
            label = _text(0, 0, name, anchor="middle" if flat else "start")
            parts.append(f'<g transform="{turned}">{label}</g>')
        total = sum(row) or 1
        parts += [_cell(left + cell * j, y, cell, n, n / total, i == j) for j, n in enumerate(row) if n]
    side = cell * count
    if not labels:
        parts.insert(0, _rule(left, top, left + side, top + side, GREYED, 'stroke-dasharray="2 4"'))
    for i in range(1, count if labels else 0):
        parts.append(_rule(left, top + cell * i, left + side, top + cell * i, RULE, 'stroke-width="0.5"'))
        parts.append(_rule(left + cell * i, top, left + cell * i, top + side, RULE, 'stroke-width="0.5"'))
    parts.append(
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}" fill="none" stroke="{GREY}"/>'
    )
    return _svg(left + side + 12, top + side + 12, parts, "confusion matrix")


def _cell(x: float, y: float, size: float, count: int, share: float, right: bool) -> str:
    strength = share**0.6
    text = ""
    if size >= 15:
        small = min(12.0 if size > 50 else 10.0, 1.6 * size / max(len(str(count)), 2))
        text = _text(x + size / 2, y + size / 2 + 3.5, str(count), small, "middle", colour=INK)
    place = f'x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{size:.1f}"'
    shade = f'fill="{BLUE if right else ORANGE}" fill-opacity="{0.72 * strength:.2f}"'
    return f"<rect {place} {shade}/>{text}"


def scatter_chart(title: str, x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> str:
    """Points, and the line on which both are the same."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if abs(a) < HUGE and abs(b) < HUGE]
    if not points:
        return ""
    low, high = min(map(min, points)), max(map(max, points))
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin
    ticks = _ticks(low, high)
    left = 30 + 6.2 * max(len(_number(t)) for t in ticks)
    frame = Frame(left, 30, WIDTH - left - 14, WIDTH - left - 14, (low, high), (low, high))
    parts = [*_axes_of_points(frame, ticks, title, x_label, y_label)]
    parts.append(
        _rule(
            frame.across(low),
            frame.up(low),
            frame.across(high),
            frame.up(high),
            GREYED,
            'stroke-dasharray="4 3"',
        )
    )
    for a, b in points:
        parts.append(
            f'<circle cx="{frame.across(a):.1f}" cy="{frame.up(b):.1f}" r="2.2" fill="{BLUE}" fill-opacity="0.45"/>'
        )
    return _svg(WIDTH, frame.top + frame.height + 44, parts, title)


def _axes_of_points(
    frame: Frame, ticks: Sequence[float], title: str, x_label: str, y_label: str
) -> Iterator[str]:
    yield _text(frame.left, 14, title, size=12, weight="bold")
    bottom = frame.top + frame.height
    for tick in ticks:
        x, y = frame.across(tick), frame.up(tick)
        yield _rule(frame.left, y, frame.left + frame.width, y, RULE)
        yield _rule(x, frame.top, x, bottom, RULE)
        yield _text(frame.left - 6, y + 3.5, _number(tick), anchor="end")
        yield _text(x, bottom + 15, _number(tick), anchor="middle")
    yield _text(frame.left + frame.width / 2, bottom + 31, x_label, anchor="middle")
    middle = frame.top + frame.height / 2
    yield f'<g transform="translate(12 {middle:.1f}) rotate(-90)">{_text(0, 0, y_label, anchor="middle")}</g>'


def histogram_chart(title: str, values: Sequence[float], x_label: str) -> str:
    """How often values lie where, in up to 30 bins."""
    finite = [v for v in values if abs(v) < HUGE]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = max(5, min(30, round(len(finite) ** 0.5)))
    counts = [0] * bins
    for value in finite:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    ticks = _ticks(0, max(counts), whole=True)
    left = 20 + 6.2 * max(len(_number(t)) for t in ticks)
    frame = Frame(left, 30, WIDTH - left - 14, 216, (low, high), (0, max(counts) * 1.05))
    parts = [*_axes(frame, ticks, title, x_label, whole=False)]
    width = frame.width / bins
    for i, count in enumerate(counts):
        top = frame.up(count)
        parts.append(
            f'<rect x="{frame.left + i * width + 0.5:.1f}" y="{top:.1f}" width="{width - 1:.1f}" '
            f'height="{frame.top + frame.height - top:.1f}" fill="{BLUE}" fill-opacity="0.75"/>'
        )
    return _svg(WIDTH, 290, parts, title)


# --------------------------------------------------------------------------------------------- small parts


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size} role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _text(
    x: float,
    y: float,
    text: str,
    size: float = 10,
    anchor: str = "start",
    *,
    weight: str = "normal",
    colour: str = "",
) -> str:
    look = f'font-size="{size:g}" text-anchor="{anchor}" font-weight="{weight}"'
    fill = colour or (INK if weight == "bold" else GREY)
    return f'<text x="{x:.1f}" y="{y:.1f}" {FONT} {look} fill="{fill}">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def _ticks(low: float, high: float, *, whole: bool = False, most: int = 5) -> list[float]:
    """Round numbers between two others, at most `most` steps apart.

    >>> _ticks(0.93, 1.02)
    [0.94, 0.96, 0.98, 1.0, 1.02]
    """
    span = (high - low) or 1.0
    step = 10 ** math.floor(math.log10(span / most))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    every = -(-(last - first + 1) // 6)
    return [10.0**i for i in range(first, last + 1, max(every, 1))]


def _percent(value: float) -> str:
    """
    >>> _percent(0.925), _percent(1.0)
    ('92.5%', '100%')
    """
    return f"{100 * value:.6g}%"


def _number(value: float) -> str:
    return f"{value:.0e}" if value and not 1e-4 <= abs(value) < 1e6 else f"{value:.6g}"
