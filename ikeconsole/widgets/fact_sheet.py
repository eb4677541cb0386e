"""A few lines of labelled facts, laid out by the room there is."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from ikeconsole.render.facts import Fact
from ikeconsole.widgets.bar import Bar

_GAP = "   "
_LABEL_CELLS = 16
_WORTH_CELLS = 8
"""What must be left for the value of a fact that is cut."""


class FactSheet(Bar):
    """One fact a line where its height allows that, else one after the other, the last ones left out."""

    def __init__(self, id: str) -> None:
        super().__init__()
        self.id = id
        self._facts: list[Fact] = []

    def tell(self, facts: Iterable[Fact]) -> None:
        """Show these facts from now on."""
        self._facts = list(facts)
        self.show()

    def line(self, width: int) -> Content:
        """All its lines."""
        height = self.size.height
        lines = self._listed() if len(self._facts) <= height else self._flowing(width, height)
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)

    def _listed(self) -> list[Content]:
        return [_styled(fact, fact.label.ljust(_LABEL_CELLS)) for fact in self._facts]

    def _flowing(self, width: int, height: int) -> list[Content]:
        lines: list[Content] = []
        for fact in self._facts:
            words = _styled(fact, f"{fact.label} ")
            room = width - lines[-1].cell_length - len(_GAP) if lines else 0
            if room >= words.cell_length or (len(lines) == height and room >= len(fact.label) + _WORTH_CELLS):
                lines[-1] = Content.assemble(lines[-1], _GAP, words)
            elif len(lines) < height:
                lines.append(words)
            else:
                break
        return lines


def _styled(fact: Fact, label: str) -> Content:
    return Content.assemble((label, "bold" if fact.names else "$quiet"), fact.value)
