"""Histograms for the card, drawn with Pillow and its own font: the same counts give the same bytes.

A white card with transparent corners, so that it looks right on light and dark pages; made to be shown at half its
size.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count

from PIL import Image, ImageColor, ImageDraw, ImageFont

WIDTH, HEIGHT = 1920, 1080
BAR, REST, MEAN, MEDIAN = "#6c9bd2", "#bcd2ec", "#c2410c", "#1f2328"
_CARD, _EDGE, _GRID, _AXIS, _INK, _GREY = "#ffffff", "#d0d7de", "#e8ebef", "#8c959f", "#1f2328", "#59636e"
_MARGIN, _TOP, _BOTTOM = 64, 256, 920
_MOST_BARS, _WIDEST_BAR = 40, 180
_SHADES = 32


@dataclass(frozen=True)
class Bins:
    """Bars of `step` values each, the first from `start` on; `rest` counts the values behind the last bar."""

    start: int
    step: int
    heights: tuple[int, ...]
    rest: int

    @property
    def end(self) -> int:
        """The first value behind the bars."""
        return self.start + self.step * len(self.heights)


def bins(counts: Mapping[int, int]) -> Bins:
    """At most 40 bars, 1, 2, 5, 10, ... values wide, for {value: how often}, which may not be empty.

    The highest hundredth of the values goes into `rest` where it would take more than half of the axis.
    """
    total = sum(counts.values())
    low, high, highest = (_at(counts, place) for place in (0, -(-total * 99 // 100) - 1, total - 1))
    if highest - low <= max(2 * (high - low), _MOST_BARS - 1):
        high = highest
    step = next(step for step in _steps() if high // step - low // step < _MOST_BARS)
    start = low // step * step
    heights = [0] * (high // step - low // step + 1)
    for value, number in counts.items():
        if number and value < start + step * len(heights):
            heights[(value - start) // step] += number
    return Bins(start, step, tuple(heights), total - sum(heights))


def histogram(counts: Mapping[int, int], *, title: str, unit: str) -> bytes:
    """A PNG, 1920 x 1080 pixels, of {value: how often}, with mean, median and total. `unit` stands under the axis."""
    card = _Card()
    size = next((size for size in (52, 44, 36) if _width(title, size) <= WIDTH - 2 * _MARGIN), 28)
    card.text((_MARGIN, 84), title, size, "lm", _INK)
    if any(counts.values()):
        _plot(card, counts, unit)
    else:
        card.text((WIDTH // 2, HEIGHT // 2), "no data", 40, "mm")
    return card.png()


class _Card:
    """A white card with a palette, which is written several times as fast as colours of three bytes.

    Index 0 is transparent; text has shades from white to its colour.
    """

    def __init__(self) -> None:
        flat = [_CARD, _CARD, _EDGE, _GRID, _AXIS, BAR, REST, MEAN, MEDIAN]
        self._index = {colour: index for index, colour in enumerate(flat)}
        self._shades = {colour: len(flat) + number * _SHADES for number, colour in enumerate((_INK, _GREY))}
        palette: list[tuple[int, ...]] = [ImageColor.getrgb(colour) for colour in flat]
        for colour in self._shades:
            palette += [_mixed(ImageColor.getrgb(colour), (shade + 1) / _SHADES) for shade in range(_SHADES)]
        self._image = Image.new("P", (WIDTH, HEIGHT), 0)
        self._image.putpalette([part for colour in palette for part in colour])
        self._draw = ImageDraw.Draw(self._image)
        self._draw.rounded_rectangle(
            (0, 0, WIDTH - 1, HEIGHT - 1), radius=28, fill=self._index[_CARD], outline=self._index[_EDGE], width=2
        )

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """Fill a rectangle; `right` and `bottom` do not belong to it."""
        corners = (round(left), round(top), round(right) - 1, round(bottom) - 1)
        self._draw.rectangle(corners, fill=self._index[colour])

    def text(self, place: tuple[float, float], text: str, size: int, anchor: str, colour: str = _GREY) -> None:
        """Write on white. `anchor`: as in Pillow."""
        x, y = round(place[0]), round(place[1])
        left, top, right, bottom = (round(edge) for edge in _font(size).getbbox(text, anchor=anchor))
        ink = Image.new("L", (right - left + 4, bottom - top + 4))
        ImageDraw.Draw(ink).text((2 - left, 2 - top), text, font=_font(size), fill=255, anchor=anchor)
        first = self._shades[colour]
        shades = ink.point([first + level * _SHADES // 256 for level in range(256)])
        self._image.paste(shades, (x + left - 2, y + top - 2), ink.point([0] * 8 + [255] * 248))

    def png(self) -> bytes:
        file = io.BytesIO()
        self._image.save(file, "PNG", transparency=0, compress_level=6)
        return file.getvalue()


def _mixed(colour: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(255 + (part - 255) * share) for part in colour)


@dataclass(frozen=True)
class _Axis:
    """The horizontal axis. Every value stands in the middle of a place as wide as `slot / step` pixels."""

    bins: Bins
    left: float
    slot: float

    def place(self, value: float) -> float:
        """Where a value stands; what is behind the bars stands in the middle of the rest."""
        if value > self.bins.end - 0.5:
            return self.left + self.slot * (len(self.bins.heights) + 1)
        return self.left + self.slot * (value + 0.5 - self.bins.start) / self.bins.step


def _plot(card: _Card, counts: Mapping[int, int], unit: str) -> None:
    total = sum(counts.values())
    mean = sum(value * number for value, number in counts.items()) / total
    median = (_at(counts, (total - 1) // 2) + _at(counts, total // 2)) / 2
    made = bins(counts)
    highest = max(*made.heights, made.rest)
    scale = next(step for step in _steps() if 5 * step >= highest)
    lines = -(-highest // scale)
    left = _MARGIN + 24 + _width(f"{lines * scale:,}", 30)
    slots = len(made.heights) + 1.5 * bool(made.rest)
    axis = _Axis(made, left, (WIDTH - _MARGIN - left) / slots)

    for line in range(lines + 1):
        y = round(_BOTTOM - line * (_BOTTOM - _TOP) / lines)
        card.box(left, y, WIDTH - _MARGIN, y + 2, _GRID if line else _AXIS)
        card.text((left - 24, y), f"{line * scale:,}", 30, "rm")
    _bars(card, axis, (_BOTTOM - _TOP) / (lines * scale))
    _ticks(card, axis)
    card.text((_MARGIN, _TOP - 60), "frequency", 30, "lm")
    card.text(((left + WIDTH - _MARGIN) / 2, 1022), unit, 34, "mm", _INK)

    _upright(card, axis.place(median), _TOP, _BOTTOM, MEDIAN, dash=0)
    _upright(card, axis.place(mean), _TOP, _BOTTOM, MEAN, dash=16)
    x = WIDTH - _MARGIN
    for text, colour, dash in (
        (f"mean {_number(mean)}", MEAN, 9),
        (f"median {_number(median)}", MEDIAN, 0),
        (f"n = {total:,}", None, 0),
    ):
        card.text((x, _TOP - 60), text, 34, "rm", _INK)
        x -= round(_width(text, 34))
        if colour:
            _upright(card, x - 20, _TOP - 80, _TOP - 40, colour, dash)
        x -= 72


def _bars(card: _Card, axis: _Axis, scale: float) -> None:
    half = min(axis.slot * 0.92, _WIDEST_BAR) / 2
    bars = [(place + 0.5, number, BAR) for place, number in enumerate(axis.bins.heights)]
    for place, number, colour in [*bars, (len(bars) + 1, axis.bins.rest, REST)]:
        if number:
            # A bar that is there can be seen.
            height = max(round(number * scale), 3)
            middle = axis.left + axis.slot * place
            card.box(middle - half, _BOTTOM - height, middle + half, _BOTTOM, colour)


def _ticks(card: _Card, axis: _Axis) -> None:
    """Values under the axis, as many as fit, at multiples of 1, 2, 5, 10, ..."""
    made = axis.bins
    widest = max(_width(f"{value:,}", 30) for value in (made.start, made.end))
    between = next(
        step for step in _steps() if step % made.step == 0 and step / made.step * axis.slot >= max(widest + 48, 110)
    )
    last = made.end - (between // 2 if made.rest else 0)
    for value in range(-(-made.start // between) * between, last, between):
        x = axis.place(value)
        card.box(x - 1, _BOTTOM, x + 1, _BOTTOM + 10, _AXIS)
        card.text((x, _BOTTOM + 38), f"{value:,}", 30, "mm")
    if made.rest:
        text = f"{made.end:,}+"
        x = min(axis.place(made.end), WIDTH - _MARGIN - _width(text, 30) / 2)
        card.text((x, _BOTTOM + 38), text, 30, "mm")


def _upright(card: _Card, x: float, top: int, bottom: int, colour: str, dash: int) -> None:
    """A vertical line, of dashes and gaps of `dash` pixels if that is not 0."""
    length = dash or bottom - top
    for y in range(top, bottom, 2 * length):
        card.box(x - 2, y, x + 2, min(y + length, bottom), colour)


def _at(counts: Mapping[int, int], place: int) -> int:
    """The value at a place, from 0, of all values in order."""
    for value in sorted(counts):
        place -= counts[value]
        if place < 0:
            return value
    raise IndexError(place)


def _steps() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return (digit * 10**power for power in count() for digit in (1, 2, 5))


def _width(text: str, size: int) -> float:
    return _font(size).getlength(text)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.1f}"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
