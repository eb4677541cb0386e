"""How something went lately."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from ikeconsole.render.plots import plot
from ikeconsole.render.states import TERMINAL, StateStyles
from ikeconsole.widgets.bar import Bar


class Plot(Bar):
    """A title and a plot as large as the widget: an area, and a line over it if there are values for one."""

    def __init__(self, title: str, *, least_top: float, id: str) -> None:
        super().__init__()
        self.id = id
        self._title = title
        self._span = 1
        self._span_words = ""
        self._least_top = least_top
        self._area: Sequence[float] = ()
        self._line: Sequence[float] = ()
        self._styles = TERMINAL

    def tell(
        self, area: Sequence[float], line: Sequence[float], *, span: int, span_words: str, styles: StateStyles
    ) -> None:
        """Show these values from now on, the newest last; the width stands for `span` of them, named `span_words`."""
        told = (area, line, span, span_words, styles)
        if told != (self._area, self._line, self._span, self._span_words, self._styles):
            self._area, self._line, self._span, self._span_words, self._styles = told
            self.show()

    def line(self, width: int) -> Content:
        """All its lines."""
        title = Content.styled(self._title, "bold")
        if not self._area:
            return Content.assemble(title, ("  nothing is known yet", "$text-muted"))
        drawn = plot(
            self._area,
            self._line,
            span=self._span,
            span_words=self._span_words,
            least_top=self._least_top,
            width=width,
            height=max(2, self.size.height - 1),
            styles=self._styles,
        )
        return Content("\n").join([title, *map(Content.from_rich_text, drawn)])
