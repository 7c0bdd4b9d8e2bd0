"""Where the lines and points of a plot lie in a picture of a page, whose template draws them as SVG.

The page draws its few kinds of plots itself: charting libraries for browsers would add 1 to 5 MB of script to every
page, against a size of some kilobytes for a plot.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from okdbench.report.charts import Plot, Series

MOST_POINTS = 300
"""A longer curve is drawn with every second, third, ... of its points, and its last."""
WIDTH, HEIGHT, SQUARE, ROW = 560, 250, 460, 21
"""Size of a picture in its own units (pixels where there is room); rows of a plot of categories are so high."""
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 40
CHARACTER = 7.2
"""The width of a character of the names of categories."""
COLOURS, DASHES = 7, 4
"""How many of each the style sheet has."""
SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.6L4.4 3.4H-4.4z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.6L4.4-3.4H-4.4z",
    "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "M-5 0L0-2L5 0L0 2z",
    "M0-5L2 0L0 5L-2 0z",
)
"""Outlines of points, around the origin. Their number and that of the colours have no common divisor."""
Place = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a series looks everywhere in a chart: numbers of its colour and dashes, and the outline of its points."""

    colour: int
    dash: int
    shape: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A point with the ends of its error bar (equal where there is none), and its numbers in words."""

    place: Place
    low: Place
    high: Place
    text: str


@dataclass(frozen=True)
class Line:
    """A series: the path through its points, that around its band or bars, and the points."""

    name: str
    look: Look
    path: str
    area: str
    marks: tuple[Mark, ...]
    printed: bool


@dataclass(frozen=True)
class Drawing:
    """A plot of ``width`` and ``height``; ``shade`` is an area and ``guides`` are lines to compare the points with."""

    title: str
    x_label: str
    y_label: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    shade: str
    guide: str
    drops: str
    remarks: tuple[Tick, ...]
    thinned: bool
    solid: bool

    @property
    def summary(self) -> str:
        """The plot in a sentence, for readers who do not see it."""
        what = f"{self.y_label} over {self.x_label.lower()}" if self.y_label else self.x_label
        names = ", ".join(dict.fromkeys(line.name for line in self.lines if line.name))
        return f"{self.title + ': ' if self.title else ''}{what}{' of ' + names if names else ''}"


def look_of(series: Series, names: Sequence[str]) -> Look:
    """Return how a series looks, of a chart whose series have these names."""
    number = names.index(series.name) if series.look is None else series.look
    return Look(number % COLOURS, number % DASHES, SHAPES[number % len(SHAPES)])


def drawing(plot: Plot, names: Sequence[str]) -> Drawing:
    """Return the plot's picture, of a chart whose series have these names."""
    return _Frame(plot, names).drawing()


class _Frame:
    """The scales of a plot: from its numbers to places in the picture. A plot of categories has x downwards."""

    def __init__(self, plot: Plot, names: Sequence[str]) -> None:
        self.plot, self.names = plot, names
        self.across = bool(plot.categories)
        self.width, self.height, self.left, self.right = WIDTH, HEIGHT, float(LEFT), WIDTH - float(RIGHT)
        self.x_values = plot.x_values
        edges = () if plot.identity else (edge for s in plot.series for edge in (*s.low, *s.high))
        values = [value for value in (*(y for s in plot.series for y in s.y), *edges) if math.isfinite(value)]
        if self.across:
            self.left = LEFT / 2 + CHARACTER * max(map(len, plot.categories))
            self.right -= 2 * CHARACTER if any(plot.remarks) else 0
            self.height = TOP + BOTTOM + ROW * len(plot.categories)
            self.steps = (-0.5, len(plot.categories) - 0.5)
            self.values = _rounded([*values, *((-plot.margin, plot.margin) if plot.zero else ())])
        elif plot.identity:
            self.width = self.height = SQUARE
            self.right = SQUARE - RIGHT
            both = [*values, *self.x_values]
            self.values = self.steps = _rounded([min(both) - plot.margin, max(both) + plot.margin])
        else:
            self.values = _rounded([each for each in values if plot.floor is None or each >= plot.floor])
            low, high = (0.0, len(self.x_values) - 1.0) if plot.bars else _ends(self.x_values)
            room = 0.6 if plot.bars else 0.0 if plot.dense else 0.05 * (high - low)
            self.steps = (low - room, high + room) if high + room > low - room else (low - 0.5, high + 0.5)

    def drawing(self) -> Drawing:
        plot = self.plot
        values = tuple(Tick(self._value(at), label) for at, label in _ticks(*self.values))
        steps = tuple(self._step_ticks())
        shade, guide = self._guides()
        bottom = self.height - BOTTOM
        return Drawing(
            title=plot.title,
            x_label=plot.y_label if self.across else plot.x_label,
            y_label="" if self.across else plot.y_label,
            width=self.width,
            height=self.height,
            left=self.left,
            right=self.right,
            top=TOP,
            bottom=bottom,
            x_ticks=values if self.across else steps,
            y_ticks=steps if self.across else values,
            lines=tuple(self._line(place, series) for place, series in enumerate(plot.series)),
            shade=shade,
            guide=guide,
            drops="".join(f"M{self._step(x)} {TOP}V{bottom}" for x in plot.drops),
            remarks=tuple(Tick(self._step(row), text) for row, text in enumerate(plot.remarks)),
            thinned=any(len(series.x) > MOST_POINTS for series in plot.series),
            solid=plot.bars,
        )

    def _step_ticks(self) -> Iterator[Tick]:
        """The ticks of x: a name for each row, or each number where there are few, or round numbers."""
        if self.across:
            yield from (Tick(self._step(row), name) for row, name in enumerate(self.plot.categories))
        elif self.plot.bars:
            yield from (Tick(self._step(place), f"{x:g}") for place, x in enumerate(self.x_values))
        elif self.plot.has_tick_for_each:
            yield from (Tick(self._step(x), f"{x:g}") for x in self.x_values)
        else:
            least = 1 if self.plot.dense else 0
            yield from (Tick(self._step(at), label) for at, label in _ticks(*self.steps, least))

    def _guides(self) -> tuple[str, str]:
        """Return the area of differences within the margin, and the line of equal numbers."""
        low, high = self.values
        margin = self.plot.margin
        if self.plot.zero:
            left, right, zero = self._value(-margin), self._value(margin), self._value(0)
            bottom = self.height - BOTTOM
            return f"M{left} {TOP}H{right}V{bottom}H{left}z", f"M{zero} {TOP}V{bottom}"
        if self.plot.identity:
            corners = ((low, low), (low, low + margin), (high - margin, high), (high, high))
            mirrored = ((high, high - margin), (low + margin, low))
            return _polygon([self._place(*each) for each in corners + mirrored]), _polygon(
                [self._place(low, low), self._place(high, high)]
            )
        return "", ""

    def _line(self, number: int, series: Series) -> Line:
        dense = self.plot.dense and len(series.x) > 1
        kept = list(_kept(len(series.x))) if dense else list(range(len(series.x)))
        aside = (number - (len(self.plot.series) - 1) / 2) * 0.8 / len(self.plot.series) if self.plot.bars else 0.0
        steps = [self.x_values.index(x) + aside if self.plot.bars else x for x in series.x]
        centre = [self._place(steps[i], series.y[i]) for i in kept]
        edges = [[self._place(steps[i], edge[i]) for i in kept] for edge in (series.low, series.high) if edge]
        marks: list[Mark] = []
        area = ""
        if dense and edges:
            area = _path([*edges[0], *reversed(edges[1])]) + "z"
        elif self.plot.bars:
            half = 0.4 / len(self.plot.series)
            area = "".join(self._bar(step, y, half) for step, y in zip(steps, series.y, strict=True))
        if not dense:
            for i, place, low, high in zip(kept, centre, *(edges or (centre, centre)), strict=True):
                marks.append(Mark(place, low, high, self._text(series, i)))
        path = _path(centre) if dense or (self.plot.joined and not series.printed) else ""
        return Line(series.name, look_of(series, self.names), path, area, tuple(marks), series.printed)

    def _bar(self, step: float, y: float, half: float) -> str:
        left, right, top = self._step(step - half), self._step(step + half), self._value(y)
        return f"M{left} {self.height - BOTTOM}V{top}H{right}V{self.height - BOTTOM}z"

    def _text(self, series: Series, index: int) -> str:
        """Return a point in words."""
        x, y = series.x[index], series.y[index]
        where = self.plot.categories[int(x)] if self.across else f"{self.plot.x_label} {x:.4g}"
        interval = f" ({series.low[index]:.2f} to {series.high[index]:.2f})" if series.low else ""
        name = f"{series.name}, " if series.name else ""
        return f"{name}{where}: {y:.2f}{interval}{', paper' if series.printed else ''}"

    def _place(self, step: float, value: float) -> Place:
        return (self._value(value), self._step(step)) if self.across else (self._step(step), self._value(value))

    def _step(self, x: float) -> float:
        share = (x - self.steps[0]) / (self.steps[1] - self.steps[0])
        return round(self._down(share) if self.across else self._right(share), 1)

    def _value(self, y: float) -> float:
        """Return the place of a value; one outside the frame lies on its edge."""
        share = min(max((y - self.values[0]) / (self.values[1] - self.values[0]), 0.0), 1.0)
        return round(self._right(share) if self.across else self._down(1 - share), 1)

    def _right(self, share: float) -> float:
        return self.left + share * (self.right - self.left)

    def _down(self, share: float) -> float:
        return TOP + share * (self.height - BOTTOM - TOP)


def _kept(length: int) -> Iterator[int]:
    """The indices of the points that are drawn."""
    yield from range(0, length - 1, -(-length // MOST_POINTS))
    yield length - 1


def _path(places: Sequence[Place]) -> str:
    """Return a path through places, to whole units and as differences, which are short."""
    if not places:
        return ""
    whole = [(round(x), round(y)) for x, y in places]
    steps = (f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in pairwise(whole))
    return f"M{whole[0][0]} {whole[0][1]}l{' '.join(steps)}".replace(" -", "-")


def _polygon(places: Sequence[Place]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return (values[0], values[-1]) if values else (0.0, 1.0)


def _rounded(values: Sequence[float]) -> tuple[float, float]:
    """Return a range of round numbers around the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 1, high + 1
    step = _step_of(high - low)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _ticks(low: float, high: float, least: float = 0) -> Iterator[tuple[float, str]]:
    """Round numbers from low to high, at least so far apart, with as many decimals as they need."""
    step = max(_step_of(high - low), least)
    decimals = max(0, -math.floor(math.log10(step)))
    for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield index * step, f"{index * step:.{decimals}f}"


def _step_of(length: float) -> float:
    """Return a round distance, 1, 2 or 5 times a power of ten, that gives four to nine ticks."""
    power = 10.0 ** math.floor(math.log10(length / 4))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= length / 4)
