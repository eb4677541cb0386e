"""A capture: one client's IKE messages, decoded as they pass."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from textual import work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control import calls
from engine.control.api import Refused
from engine.control.captured import Captured
from ikeconsole.actions import bindings
from ikeconsole.capture_reader import CaptureReader, ReadMessage
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.message import Message
from ikeconsole.exporting import export_capture
from ikeconsole.render.capture import arrow, captured_line, in_full, milliseconds, ports, shown
from ikeconsole.render.columns import printable
from ikeconsole.render.states import ALARM
from ikeconsole.screens.place import Place
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn
from ikeconsole.widgets.head_line import HeadLine

KEPT_BYTES = 16 << 20
"""Of all messages together: then the capture ends, for it is held in memory."""

_NOTHING_YET = " Nothing yet. A tunnel that is up may exchange no IKE message for minutes."


class Capture(Place):
    """The newest message last; following, it stays there. Leaving ends the capture."""

    PLACE = "capture"
    BINDINGS = bindings("capture")

    def __init__(self, client: str) -> None:
        super().__init__()
        self._client = client
        self._head = HeadLine()
        self._rows: list[ReadMessage] = []
        self._bytes = 0
        self._reader = CaptureReader()
        self._following = True
        self._ended = ""

    @property
    def crumb(self) -> str:
        """The client."""
        return f"capture of {self._client}"

    def body(self) -> Iterable[Widget]:
        """How much there is, the messages, and the selected one in full."""
        yield self._head
        yield Grid[ReadMessage](
            [
                GridColumn("TIME", 12, lambda row: milliseconds(row.message.at)),
                GridColumn("CLIENT", 21, lambda row: row.message.client, from_width=120),
                GridColumn("", 1, lambda row: arrow(row.message, self.console_app.state_styles)),
                GridColumn("PORTS", 11, lambda row: ports(row.message), from_width=100),
                GridColumn("EXCHANGE", 15, lambda row: row.decoded.exchange),
                GridColumn("MESSAGE", 11, lambda row: row.decoded.kind),
                GridColumn("SPIS", 17, lambda row: row.decoded.spis, from_width=140),
                GridColumn("BYTES", 5, lambda row: str(len(row.message.data)), right=True),
                GridColumn("WHAT IT SHOWS", 20, lambda row: shown(row, self.console_app.state_styles), grow=1),
            ],
            key=lambda row: row.message.number,
            empty=_NOTHING_YET,
            id="capture",
        )
        yield Static(id="captured")

    def on_mount(self) -> None:
        """Begin."""
        self._capture()
        self._draw()

    async def look(self) -> None:
        """Draw what came while the console stood still."""
        self._draw()

    def offers(self, action: str) -> bool:
        """There must be something to write."""
        return action != "export" or bool(self._rows)

    def action_follow(self) -> None:
        """Stay at the newest message, or stop doing so."""
        self._following = not self._following
        self._draw()

    async def action_stop(self) -> None:
        """End the capture and go back."""
        await self.console_app.action_back()

    @work(exclusive=True, group="export")
    async def action_export(self) -> None:
        """Write what has been captured to a file."""
        await export_capture(self.console_app, [row.message for row in self._rows])

    def on_grid_cursor_moved(self) -> None:
        """Whoever goes up wants to read, not to follow."""
        if self._following and self._grid.cursor < self._grid.total - 1:
            self._following = False
            self._show_head()
        self._show_selected()

    def on_grid_opened(self) -> None:
        """Show everything that is known of a message."""
        if (row := self._grid.selected) is not None:
            self.app.push_screen(Message(row.decoded.exchange, in_full(row)))

    @property
    def _grid(self) -> Grid[ReadMessage]:
        return self.query_one("#capture", Grid)

    @work(exclusive=True, group="capture")
    async def _capture(self) -> None:
        try:
            async with aclosing(self.console_app.link.capture(calls.Capture(client=self._client))) as batches:
                async for captured in batches:
                    self._keep(captured)
                    if not self.console_app.paused:
                        self._draw()
                    if self._ended:
                        break
        except Refused as refusal:
            self._ended = refusal.message
        except EngineUnreachable:
            self._ended = "the engine was lost"
        self._draw()

    def _keep(self, captured: Captured) -> None:
        self._rows += self._reader.take(captured)
        self._bytes += sum(len(message.data) for message in captured.messages)
        self._ended = captured.ended
        if self._bytes > KEPT_BYTES:
            self._ended = f"{KEPT_BYTES >> 20} MiB fill it; a file (capture -o) takes more"

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._grid.empty = f" {ALARM} {printable(self._ended)}" if self._ended else _NOTHING_YET
        self._grid.show(self._rows)
        if self._following:
            self._grid.select(len(self._rows) - 1)
        self._show_head()
        self._show_selected()
        self.refresh_bindings()

    def _show_head(self) -> None:
        counted = Content.assemble((f" {self._reader.summary()}", "bold"), f"   {self._client}")
        if self._ended:
            why = f": {printable(self._ended)}" if self._rows else ""
            state = Content.styled(f"{ALARM} ended{why} ", "$text-warning")
        else:
            state = Content.styled("following " if self._following else "not following (f) ", "$text-muted")
        self._head.say(counted, state)

    def _show_selected(self) -> None:
        row = self._grid.selected
        line = "" if row is None else captured_line(row, self.console_app.state_styles)
        self.query_one("#captured", Static).update(line)
