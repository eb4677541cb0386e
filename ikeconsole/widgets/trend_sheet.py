"""How one thing went lately: a number a line, with its present value, its highest, and its course."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.content import Content

from ikeconsole.render.numbers import UNKNOWN
from ikeconsole.render.sparks import sparkline
from ikeconsole.render.trends import Trend
from ikeconsole.widgets.bar import Bar

_LABEL_CELLS = 16
_VALUE_CELLS = 6
_BEFORE_COURSE = _LABEL_CELLS + 2 * _VALUE_CELLS + 4


class TrendSheet(Bar):
    """A line of titles, and one for each trend; it takes no room while there are none."""

    LINES: ClassVar = 6
    """How many it takes otherwise."""

    def __init__(self, title: str, id: str) -> None:
        super().__init__()
        self.id = id
        self._title = title
        self._trends: Sequence[Trend] = ()
        self._span = 1

    def tell(self, trends: Iterable[Trend], span: int = 1) -> None:
        """Show these from now on, the last `span` values of each."""
        self._trends, self._span = list(trends), span
        self.show()

    def line(self, width: int) -> Content | None:
        """All its lines."""
        if not self._trends:
            return None
        cells = max(1, min(width - _BEFORE_COURSE, self._span))
        titles = f"{'':{_LABEL_CELLS}}{'now':>{_VALUE_CELLS}}  {'most':>{_VALUE_CELLS}}  {self._title}"
        lines = [Content.styled(titles, "$quiet"), *(self._course(trend, cells) for trend in self._trends)]
        return Content("\n").join(line.truncate(width) for line in lines)

    def _course(self, trend: Trend, cells: int) -> Content:
        lately = trend.lately[-self._span :]
        most = trend.write(max(trend.now, *lately)) if lately else UNKNOWN
        colour = "" if self.screen.has_class("stale") else "$spark-out" if trend.out else "$spark-in"
        return Content.assemble(
            (f"{trend.label:{_LABEL_CELLS}}", "$quiet"),
            f"{trend.write(trend.now):>{_VALUE_CELLS}}  {most:>{_VALUE_CELLS}}  ",
            (sparkline(lately, cells, self._span), colour),
        )
