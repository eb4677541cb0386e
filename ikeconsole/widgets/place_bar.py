"""The last line: the places and the keys that work everywhere."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.actions import PLACES
from ikeconsole.widgets.bar import Bar, spread

_EVERYWHERE = ((":", "command"), ("?", "help"), ("q", "quit"))


class PlaceBar(Bar):
    """The number keys with the present place marked; filter, command, help."""

    def line(self, width: int) -> Content:
        """The places, and the keys that work everywhere."""
        places: list[Content | str] = [" "]
        for number, name in enumerate(PLACES, 1):
            style = "bold reverse" if name == self.console_app.root else "not bold"
            places += [
                Content.from_markup(
                    f"[@click=app.go('{name}')][bold]{number}[/] [{style}]{name}[/][/]"
                ),
                " ",
            ]
        everywhere = "  ".join(f"[bold]{key}[/] {word}" for key, word in _EVERYWHERE)
        return spread(Content.assemble(*places), Content.from_markup(f"{everywhere} "), width)
