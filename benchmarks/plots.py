"""Draws the pictures of docs/performance.md from what was measured (``measured.json``).

Run ``python -m benchmarks.plots``; the figures are those that the other benchmarks print. A picture
is a few lines of SVG: nothing need be installed to make it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

MEASURED = Path(__file__).with_name("measured.json")
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 170, 40, 50
_COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7a5195")
_STYLE = "font-family='sans-serif' font-size='12' fill='#333'"

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        x: what runs to the right, with its unit; likewise ``y``.
        lines: points by what they are of.
        logarithmic: whether ``x`` is shown by its size.
    """

    title: str
    x: str
    y: str
    lines: dict[str, Points]
    logarithmic: bool = False

    def svg(self) -> str:
        """The picture."""
        across = sorted({x for points in self.lines.values() for x, _ in points})
        top = _round_up(max(y for points in self.lines.values() for _, y in points))
        parts = [_text(_LEFT, 20, self.title, weight="bold")]
        parts += [self._mark_of_y(top * part / 4, top) for part in range(5)]
        parts += [
            _text(self._place(x, across), _HEIGHT - _BOTTOM + 18, f"{x:,.10g}", anchor="middle")
            for x in across
        ]
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(_text(middle, _HEIGHT - 10, self.x, anchor="middle"))
        parts.append(_text(_WIDTH - _RIGHT + 10, _TOP - 8, self.y))
        for number, (name, points) in enumerate(self.lines.items()):
            parts += self._line(name, points, _COLOURS[number], across, top)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' "
            f"width='{_WIDTH}' height='{_HEIGHT}'>\n"
            f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#fff'/>\n"
            + "\n".join(parts)
            + "\n</svg>\n"
        )

    def _mark_of_y(self, value: float, top: float) -> str:
        y = _height(value, top)
        return f"<path d='M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}' stroke='#ddd'/>" + _text(
            _LEFT - 8, y + 4, f"{value:,g}", anchor="end"
        )

    def _line(
        self, name: str, points: Points, colour: str, across: list[float], top: float
    ) -> list[str]:
        places = [(self._place(x, across), _height(y, top)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dots = [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in places]
        x, y = places[-1]
        return [
            f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='2'/>",
            *dots,
            _text(x + 8, y + 4, name, colour=colour),
        ]

    def _place(self, x: float, across: list[float]) -> float:
        first, last, here = (
            (math.log(v) if self.logarithmic else v) for v in (across[0], across[-1], x)
        )
        share = (here - first) / (last - first or 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _height(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _round_up(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= value)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal",
    colour: str = "#333",
) -> str:  # fmt: skip
    style = _STYLE.replace("#333", colour)
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-weight='{weight}' "
        f"{style}>{escape(words)}</text>"
    )


def main() -> None:
    """Draw all pictures."""
    for name, found in json.loads(MEASURED.read_text()).items():
        lines = {line: [(x, y) for x, y in points] for line, points in found.pop("lines").items()}
        path = IMAGES / f"{name}.svg"
        path.write_text(Plot(**found, lines=lines).svg())
        print(path.relative_to(IMAGES.parents[1]))


if __name__ == "__main__":
    main()
