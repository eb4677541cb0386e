"""The last line: the places and the keys that work everywhere."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.actions import PLACES
from ikeconsole.widgets.bar import Bar, spread

_HELP = ("?", "help")
_EVERYWHERE = ((":", "command"), _HELP, ("q", "quit"))


class PlaceBar(Bar):
    """The number keys with the present place marked; filter, command, help."""

    def line(self, width: int) -> Content:
        """The places, and the keys that work everywhere; on a narrow screen only the present place has its name."""
        everywhere = _keys(*_EVERYWHERE)
        places = self._places(*PLACES)
        if places.cell_length + everywhere.cell_length >= width:
            places = self._places(self.console_app.root)
        if places.cell_length + everywhere.cell_length >= width:
            everywhere = _keys(_HELP)
        return spread(places, everywhere, width)

    def _places(self, *named: str) -> Content:
        parts = [Content(" ")]
        for number, name in enumerate(PLACES, 1):
            style = "bold reverse" if name == self.console_app.root else "not bold"
            word = f" [{style}]{name}[/]" if name in named else ""
            parts.append(Content.from_markup(f"[@click=app.go('{name}')][bold]{number}[/]{word}[/] "))
        return Content.assemble(*parts)


def _keys(*keys: tuple[str, str]) -> Content:
    return Content.from_markup("  ".join(f"[bold]{key}[/] {word}" for key, word in keys) + " ")
