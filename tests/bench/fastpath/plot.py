"""A plot of lines over a logarithmic axis, as SVG that is legible on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 40, 50
COLOURS = ("#d9480f", "#1c7ed6", "#2f9e44")
GREY = "#868e96"
LINES = 5


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines by name, each of points (x, y); x grows by powers of ten, y from zero."""

    title: str
    x_label: str
    lines: Mapping[str, Sequence[tuple[float, float]]]

    def svg(self) -> str:
        """The document."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                f'font-family="sans-serif" font-size="13" fill="{GREY}">',
                f"<title>{self.title}</title>",
                _text(LEFT, 20, self.title, "start"),
                *self._grid(),
                *self._drawn(),
                "</svg>\n",
            ]
        )

    def _grid(self) -> Iterator[str]:
        step = self._step()
        for number in range(LINES + 1):
            y = self._y(number * step)
            yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GREY}" stroke-opacity="0.3"/>'
            yield _text(LEFT - 8, y + 4, f"{number * step:,}", "end")
        for x in sorted({x for points in self.lines.values() for x, _ in points}):
            yield _text(self._x(x), HEIGHT - BOTTOM + 20, f"{x:,.0f}", "middle")
        yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.x_label, "middle")

    def _drawn(self) -> Iterator[str]:
        for colour, (name, points) in zip(COLOURS, self.lines.items(), strict=False):
            places = [(self._x(x), self._y(y)) for x, y in points]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
            yield _text(places[-1][0] + 10, places[-1][1] + 4, name, "start", colour)

    def _step(self) -> int:
        highest = max(y for points in self.lines.values() for _, y in points)
        return 10 * ceil(highest / LINES / 10)

    def _x(self, x: float) -> float:
        ends = [log10(x) for points in self.lines.values() for x, _ in points]
        share = (log10(x) - min(ends)) / ((max(ends) - min(ends)) or 1)
        return LEFT + 20 + share * (WIDTH - LEFT - RIGHT - 40)

    def _y(self, y: float) -> float:
        return HEIGHT - BOTTOM - y / (LINES * self._step()) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, words: str, anchor: str, colour: str = GREY) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'
