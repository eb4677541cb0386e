"""One real server: how it is, what it carries, how both went, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control import calls
from engine.control.api import Refused
from engine.control.status import Series, ServerHistory, ServerStatus
from ikeconsole.actions import bindings
from ikeconsole.navigation import open_sessions
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age
from ikeconsole.render.server_page import Labelled, labelled_lines, server_history, server_page
from ikeconsole.render.states import UNCOLOURED, StateStyles, server_state
from ikeconsole.screens.server_acting import ServerActing
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.page import Page
from ikeconsole.widgets.plot import Plot

SERIES_EVERY_S = 10.0
SPANS_M = (5, 15, 60)
"""What plots show, in minutes: the shortest that has room for all that is known."""

_WIDTHS = [(0, "-narrow"), (130, "-wide")]
_PLOTS = {
    "sessions-plot": ("sessions", 2.0),
    "traffic-plot": ("b/s   ░ out   ⠒ in", 2000.0),
    "new-plot": ("new sessions/s", 0.2),
}
"""Their titles, and where their scales end at least."""


class Server(ServerActing):
    """The page of one real server, which outlives its configuration."""

    PLACE = "server"
    BINDINGS = bindings("server")
    AUTO_FOCUS = "#server"
    HORIZONTAL_BREAKPOINTS = _WIDTHS

    def __init__(self, service: str, name: str) -> None:
        super().__init__()
        self._service_name = service
        self._server_name = name
        self._server: ServerStatus | None = None
        """What is known of it, the latest."""
        self._known_at = 0.0
        """When that was, on the engine's clock."""
        self._gone = False
        """Whether the configuration has it no more."""
        self._hour: Series | None = None
        self._hour_at = 0.0
        """When that was asked for, on the engine's clock."""
        self._history: ServerHistory | None = None
        self._stale = False
        self._drawn: dict[str, tuple[list[Labelled], StateStyles]] = {}

    @property
    def crumb(self) -> str:
        """Its name."""
        return self._server_name

    @property
    def selected_server(self) -> ServerStatus | None:
        """This one."""
        return None if self._gone else self._server

    def body(self) -> Iterable[Widget]:
        """The head line; facts, plots and history, in two columns where there is room."""
        yield HeadLine()
        with Page(id="server"):
            yield Static(id="server-facts")
            with Container(id="server-plots"):
                for name, (title, least_top) in _PLOTS.items():
                    yield Plot(title, least_top=least_top, id=name)
            yield Static(id="server-history")

    def show(self, snapshot: Snapshot) -> None:
        """Draw what is known of it."""
        found = snapshot.server(self._service_name, self._server_name)
        before = self.selected_server
        self._gone = found is None
        if found is not None:
            self._server, self._known_at = found, snapshot.status.now_at
        if before is None or found is None or before.admin_state != found.admin_state:
            self.refresh_bindings()
        self._draw()

    async def look(self) -> None:
        """Ask how it went."""
        if self.selected_server is None:
            return
        link, at = self.console_app.link, {"service": self._service_name, "server": self._server_name}
        try:
            self._history = await link.ask(calls.GetServerHistory(**at))
            if self._hour is None or not 0 <= self._known_at - self._hour_at < SERIES_EVERY_S:
                answer = await link.ask(calls.GetSeries(points=calls.MAX_POINTS, **at))
                self._hour, self._hour_at = next(iter(answer), None), self._known_at
        except Refused:
            return  # it was removed meanwhile, as the next snapshot says
        self._draw()

    def set_stale(self, stale: bool) -> None:
        """Grey everything out while the engine is lost."""
        super().set_stale(stale)
        if stale != self._stale:
            self._stale = stale
            self._draw()

    def offers(self, action: str) -> bool:
        """What is gone can only be left."""
        return not self._gone and super().offers(action)

    async def action_sessions(self) -> None:
        """Go to its sessions."""
        await open_sessions(self.console_app, f"server:{self._server_name} service:{self._service_name}")

    @property
    def _styles(self) -> StateStyles:
        return UNCOLOURED if self._stale or self._gone else self.console_app.state_styles

    def _draw(self) -> None:
        self._show_head()
        if self._server is not None:
            self._tell("#server-facts", server_page(self._server, self._hour, self._known_at, self._styles))
        if self._history is not None:
            self._tell("#server-history", server_history(self._history, self._known_at, self._styles))
        if self._hour is not None:
            self._plot(self._hour)

    def _plot(self, hour: Series) -> None:
        minutes = next((span for span in SPANS_M if len(hour.sessions) * hour.step_s <= 60 * span), SPANS_M[-1])
        out, into = ([8 * passed for passed in way] for way in (hour.bytes_out, hour.bytes_in))
        drawn: list[tuple[Sequence[float], Sequence[float]]] = [
            (hour.sessions, ()),
            (out, into),
            (hour.new_sessions, ()),
        ]
        for name, (area, line) in zip(_PLOTS, drawn, strict=True):
            plot = self.query_one(f"#{name}", Plot)
            plot.tell(area, line, span=round(60 * minutes / hour.step_s), span_words=f"{minutes}m", styles=self._styles)

    def _tell(self, part: str, lines: Iterator[Labelled]) -> None:
        """Draw a part of the page if it changed."""
        drawn = (list(lines), self._styles)
        if self._drawn.get(part) != drawn:
            self._drawn[part] = drawn
            self.query_one(part, Static).update(labelled_lines(*drawn))

    def _show_head(self) -> None:
        server = self._server
        self.set_class(self._gone, "gone")
        address = printable(server.address) if server else ""
        what = Content.assemble((f" {printable(self._server_name)}", "bold"), f"  {address}  ")
        where = Content.styled(printable(self._service_name), "$text-muted")
        if self._gone:
            snapshot = self.console_app.snapshot
            past = f": this was so {age(snapshot.status.now_at - self._known_at)} ago" if server and snapshot else ""
            said = Content.styled(f"▲ not in the configuration{past}. Esc goes back ", "$text-warning")
        elif server is not None:
            said = Content.assemble(Content.from_rich_text(server_state(server, self._styles)), " ")
        else:
            said = Content("")
        self.query_one(HeadLine).say(Content.assemble(what, where), said)
