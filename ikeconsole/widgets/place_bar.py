"""The last line: the places and the keys that work everywhere."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.actions import PLACES
from ikeconsole.widgets.bar import Bar, spread


class PlaceBar(Bar):
    """The number keys with the present place marked; filter, command, help."""

    def line(self, width: int) -> Content:
        """The places, and the keys that work everywhere."""
        here = self.console_app.root
        places: list[Content | str] = [" "]
        for number, name in enumerate(PLACES, 1):
            style = "bold reverse" if name == here else ""
            places += [
                Content.from_markup(f"[@click=app.go('{name}')][bold]{number}[/bold] [{style or 'not bold'}]$name[/][/]", name=name),
                " ",
            ]
        return spread(Content.assemble(*places), Content.from_markup("[b]:[/b] command  [b]?[/b] help  [b]q[/b] quit "), width)
