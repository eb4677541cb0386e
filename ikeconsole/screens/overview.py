"""The overview: is it up, who is hurt, why, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from engine.control.status import ServerStatus
from ikeconsole.actions import bindings
from ikeconsole.navigation import open_server, open_service
from ikeconsole.render.facts import engine_facts, server_facts, service_facts
from ikeconsole.render.trends import trends
from ikeconsole.screens.overview_rows import OverviewRow, overview_columns, overview_rows, points_shown
from ikeconsole.screens.server_acting import ServerActing
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.fact_sheet import FactSheet
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.trend_sheet import TrendSheet

ASKING = "asking the engine…"
NO_SERVICE = "No service yet: press 4 then n to add one, or edit config.toml and press r."

_WIDTHS = [(0, "-narrow"), (120, "-wide")]
_HEIGHTS = [(0, "-short"), (36, "-tall")]


class Overview(ServerActing):
    """Every service and real server, more about the selected one, and the engine."""

    PLACE = "overview"
    BINDINGS = bindings("overview")
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    @property
    def grid(self) -> Grid[OverviewRow]:
        """The services and real servers."""
        return self.query_one("#things", Grid)

    @property
    def selected_server(self) -> ServerStatus | None:
        """The real server under the cursor; None on a service."""
        row = self.grid.selected if self.is_mounted else None
        return row.server if row else None

    @property
    def subject(self) -> tuple[str, str]:
        """The service or the real server under the cursor."""
        row = self.grid.selected
        return (row.service.name, row.server.name if row.server else "") if row else ("", "")

    def body(self) -> Iterable[Widget]:
        """The grid, the selected row's details and how it went, the engine."""
        columns = overview_columns(lambda: self.console_app.state_styles)
        yield Grid[OverviewRow](columns, key=lambda row: row.key, empty=ASKING, id="things")
        yield FactSheet(id="details")
        yield TrendSheet("last 5 minutes", id="trends")
        yield FactSheet(id="engine")

    def show(self, snapshot: Snapshot) -> None:
        """Draw everything anew."""
        self.grid.empty = NO_SERVICE
        self.grid.show(overview_rows(snapshot))
        self._show_details()
        self.query_one("#engine", FactSheet).tell(engine_facts(snapshot.status))

    def set_stale(self, stale: bool) -> None:
        """Grey everything out while the engine is lost."""
        super().set_stale(stale)
        self.query_one(TrendSheet).show()

    def on_resize(self) -> None:
        """Tell as much as there is room for now."""
        self.call_after_refresh(self._show_details)

    def on_grid_cursor_moved(self) -> None:
        """Tell of the row that is selected now."""
        self._show_details()
        self.refresh_bindings()

    def on_grid_opened(self) -> None:
        """Open the page of the selected thing."""
        row = self.grid.selected
        if row is None:
            return
        if row.server is None:
            open_service(self.console_app, row.service.name)
        else:
            open_server(self.console_app, row.service.name, row.server.name)

    def _show_details(self) -> None:
        row, snapshot = self.grid.selected, self.console_app.snapshot
        details, lately = self.query_one("#details", FactSheet), self.query_one(TrendSheet)
        if row is None or snapshot is None:
            details.tell(())
            lately.tell(())
            return
        if row.server is None:
            details.tell(service_facts(row.service))
        else:
            details.tell(server_facts(row.server, snapshot.status.now_at))
        if self._has_room_for(lately):
            lately.tell(trends(row.thing, row.series), points_shown(row.series))
        else:
            lately.tell(())

    def _has_room_for(self, lately: TrendSheet) -> bool:
        """On a low screen, only where no row must go for it."""
        spare = self.grid.window[1] - self.grid.total + (lately.size.height if lately.display else 0)
        return spare >= TrendSheet.LINES or self.has_class("-tall")
