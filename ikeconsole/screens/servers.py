"""The real servers of all services: health, load, and taking them in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.content import Content
from textual.widget import Widget

from engine.control.status import ServerStatus
from engine.wording import count
from ikeconsole.actions import bindings
from ikeconsole.navigation import open_server
from ikeconsole.render.columns import printable
from ikeconsole.render.facts import server_facts
from ikeconsole.render.states import server_state
from ikeconsole.screens.server_acting import ServerActing
from ikeconsole.screens.server_columns import server_columns
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.fact_sheet import FactSheet
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.line_filter import LineFilter

ASKING = "asking the engine…"
NO_SERVER = " No real server yet: press 4 to give a service one, or edit config.toml and press r."


_WIDTHS = [(0, "-narrow"), (120, "-wide")]
_HEIGHTS = [(0, "-short"), (36, "-tall")]


class Servers(ServerActing):
    """Every real server, and more about the selected one."""

    PLACE = "servers"
    BINDINGS = bindings("servers")
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    @property
    def grid(self) -> Grid[ServerStatus]:
        """The real servers."""
        return self.query_one("#servers", Grid)

    @property
    def selected_server(self) -> ServerStatus | None:
        """The one under the cursor."""
        return self.grid.selected if self.is_mounted else None

    def body(self) -> Iterable[Widget]:
        """The head line, the filter, the rows, the selected one's details."""
        yield HeadLine()
        yield LineFilter("service, server, address or state")
        columns = server_columns(lambda: self.console_app.state_styles, lambda: self._now_at)
        yield Grid[ServerStatus](columns, key=lambda server: (server.service, server.name), empty=ASKING, id="servers")
        yield FactSheet(id="details")

    def show(self, snapshot: Snapshot) -> None:
        """Draw the servers that the filter lets through."""
        everything = [server for service in snapshot.status.services for server in service.servers]
        words = self.query_one(LineFilter).value.casefold().split()
        shown = [server for server in everything if all(word in _searched(server) for word in words)]
        wanted = printable(" ".join(words))
        self.grid.empty = (
            f" None of {count(len(everything), 'server')} has “{wanted}”: press / and empty the line"
            if everything
            else NO_SERVER
        )
        self.grid.show(shown)
        counted = f" {len(shown)} of {count(len(everything), 'server')}"
        filtered = Content(f"   with “{wanted}”" if words else "")
        self.query_one(HeadLine).say(Content.assemble((counted, "bold"), filtered), self._states(shown))
        self._show_details()
        self.refresh_bindings()

    def offers(self, action: str) -> bool:
        """Nothing while the operator types."""
        return not self.query_one(LineFilter).has_focus and super().offers(action)

    def action_filter(self) -> None:
        """Let the operator say which servers to show."""
        self.query_one(LineFilter).open()

    def on_input_changed(self) -> None:
        """Every keystroke counts."""
        if self.console_app.snapshot is not None:
            self.show(self.console_app.snapshot)

    def on_grid_cursor_moved(self) -> None:
        """Tell of the one that is selected now."""
        self._show_details()
        self.refresh_bindings()

    def on_grid_opened(self) -> None:
        """Open its page."""
        if server := self.selected_server:
            open_server(self.console_app, server.service, server.name)

    @property
    def _now_at(self) -> float:
        snapshot = self.console_app.snapshot
        return snapshot.status.now_at if snapshot else 0.0

    def _states(self, servers: Sequence[ServerStatus]) -> Content:
        """How many are in each state."""
        states = [server_state(server, self.console_app.state_styles) for server in servers]
        words = [state.plain for state in states]
        parts = [
            (Content.from_rich_text(states[words.index(word)]), f" {words.count(word)} ")
            for word in dict.fromkeys(words)
        ]
        return Content("  ").join(Content.assemble(*part) for part in parts)

    def _show_details(self) -> None:
        server = self.selected_server
        self.query_one("#details", FactSheet).tell(server_facts(server, self._now_at) if server else ())


def _searched(server: ServerStatus) -> str:
    """What the words of the filter are looked for in."""
    return f"{server.service}/{server.name} {server.address} {server_state(server)}".casefold()
