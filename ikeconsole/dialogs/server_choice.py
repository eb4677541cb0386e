"""Asks which real server a client is to go to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget
from textual.widgets import Button

from engine.control.status import ServerStatus
from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.render.numbers import grouped, round_trip
from ikeconsole.render.states import StateStyles, server_state
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn


class ServerChoice(Dialog[str]):
    """The name of one of the servers; None: none."""

    def __init__(self, host: str, here: str, servers: Sequence[ServerStatus], styles: StateStyles) -> None:
        super().__init__(f"Move {host} to")
        self._here = here
        self._servers = servers
        self._styles = styles

    def content(self) -> Iterable[Widget]:
        """The servers, and what they carry."""
        grid = Grid[ServerStatus](
            [
                GridColumn("SERVER", 16, lambda server: server.name, grow=1),
                GridColumn("STATE", 10, lambda server: server_state(server, self._styles)),
                GridColumn("SESS", 6, lambda server: grouped(server.sessions), right=True),
                GridColumn("MOST", 6, _most, right=True),
                GridColumn("RTT", 5, lambda server: round_trip(server.rtt_s), right=True),
                GridColumn("", 9, lambda server: "is there" if server.name == self._here else ""),
            ],
            key=lambda server: server.name,
            id="servers",
        )
        grid.styles.height = min(len(self._servers), 10) + 1
        yield grid

    def buttons(self) -> Iterable[Button]:
        """Cancel, and on to what it would do."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Move", id="accept", variant="warning", compact=True)

    def on_mount(self) -> None:
        """Begin at a server that the client is not on and that takes sessions."""
        grid = self.query_one(Grid)
        grid.show(self._servers)
        elsewhere = [server for server in self._servers if server.name != self._here]
        likely = [server for server in elsewhere if server.health == "up" and server.admin_state == "enabled"]
        for server in (likely or elsewhere)[:1]:
            grid.select_key(server.name)
        grid.focus()

    def on_grid_opened(self) -> None:
        """Enter is the answer, as the button is."""
        self._accept()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        if event.button.id == "accept":
            self._accept()
        else:
            self.dismiss(None)

    def _accept(self) -> None:
        server = self.query_one(Grid).selected
        if server is not None:
            self.dismiss(server.name)


def _most(server: ServerStatus) -> str:
    return grouped(server.max_sessions) if server.max_sessions else ""
