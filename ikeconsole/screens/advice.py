"""Advice: what to set on servers, gateways and clients, from what the engine sees of them."""

from __future__ import annotations

from collections.abc import Iterable

from textual import work
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control.api import Refused
from engine.control.calls import GetAdvice
from engine.control.records import Advice
from ikeconsole.actions import bindings
from ikeconsole.dialogs.pick import Pick
from ikeconsole.render.advice import advice_body, snippet_heading, subject, tally, urgency
from ikeconsole.render.columns import printable
from ikeconsole.render.states import UNCOLOURED
from ikeconsole.screens.place import Place
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.page import Page

ASKING = " asking the engine…"
NOTHING = " Nothing to advise on yet: press 4 then n to add a service."
ASKED_EVERY_S = 10.0
_NARROWEST = 20


class Advised(Place):
    """All advice on a service or a real server, or without names on everything."""

    PLACE = "advice"
    BINDINGS = bindings("advice")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 Textual declares it so

    def __init__(self, service: str = "", server: str = "") -> None:
        super().__init__()
        self._service = service
        self._server = server
        self._found: list[Advice] = []
        self._asked_at: float | None = None
        """When the engine was asked last, on its own clock."""
        self._base = ""
        """The configuration that was in force then."""
        self._stale = False

    @property
    def grid(self) -> Grid[Advice]:
        """One line for each."""
        return self.query_one("#advices", Grid)

    def body(self) -> Iterable[Widget]:
        """The list, and the whole of the one under the cursor."""
        yield HeadLine()
        with Container(id="advice"):
            yield Grid[Advice](
                [
                    GridColumn("URGENCY", 10, lambda advice: urgency(advice, self.console_app.state_styles)),
                    GridColumn("ABOUT", 22, subject, grow=1),
                    GridColumn("WHAT", 30, lambda advice: advice.what, grow=4),
                ],
                key=lambda advice: (advice.service, advice.server, advice.topic),
                empty=ASKING,
                id="advices",
            )
            with Page(id="whole-advice"):
                yield Static()

    async def look(self) -> None:
        """Ask again once in a while, and when another configuration is in force."""
        snapshot = self.console_app.snapshot
        if snapshot is None:
            return
        status = snapshot.status
        fresh = self._asked_at is not None and 0 <= status.now_at - self._asked_at < ASKED_EVERY_S
        if fresh and status.config_digest == self._base:
            return
        call = GetAdvice(service=self._service, server=self._server)
        try:
            self._found = await self.console_app.link.ask(call)
        except Refused:
            self._service = self._server = ""  # what it was about is gone
            self._found = await self.console_app.link.ask(GetAdvice())
        self._asked_at, self._base = status.now_at, status.config_digest
        self._draw()

    def set_stale(self, stale: bool) -> None:
        """Grey everything out while the engine is lost."""
        super().set_stale(stale)
        if stale != self._stale:
            self._stale = stale
            self._show_whole()

    def offers(self, action: str) -> bool:
        """There must be something to copy, or more to see."""
        if action == "widen":
            return bool(self._service)
        selected = self.grid.selected if self.is_mounted else None
        return bool(selected and selected.snippets)

    def on_resize(self) -> None:
        """Fit it into the new width."""
        self.call_after_refresh(self._show_whole)

    def on_grid_cursor_moved(self) -> None:
        """Show the whole of what is under the cursor now, from its start."""
        self._show_whole()
        self.query_one(Page).scroll_home(animate=False)
        self.refresh_bindings()

    def on_grid_opened(self) -> None:
        """Go into it, to scroll it."""
        self.query_one(Page).focus()

    async def action_widen(self) -> None:
        """Everything there is advice on."""
        self._service = self._server = ""
        self._asked_at = None
        self.console_app.look_soon()

    @work(exclusive=True)
    async def action_copy(self) -> None:
        """Put commands or settings on the clipboard of the operator's terminal (OSC 52)."""
        advice = self.grid.selected
        if advice is None or not advice.snippets:
            return
        chosen: str | None = "0"
        if len(advice.snippets) > 1:
            chosen = await self._choose(advice)
        if chosen is not None:
            snippet = advice.snippets[int(chosen)]
            self.app.copy_to_clipboard("\n".join(map(printable, snippet.text.splitlines())) + "\n")
            self.app.notify(snippet_heading(snippet), title="copied, if your terminal allows it", markup=False)

    async def _choose(self, advice: Advice) -> str | None:
        headings = [snippet_heading(snippet) for snippet in advice.snippets]
        heading = await self.app.push_screen_wait(Pick("Copy which?", dict.fromkeys(headings, ""), headings[0]))
        return None if heading is None else str(headings.index(heading))

    def _draw(self) -> None:
        about = printable("/".join(filter(None, (self._service, self._server)))) or "everything"
        said = Content.assemble((" advice on ", "$text-muted"), (about, "bold"))
        self.query_one(HeadLine).say(said, Content(f"{tally(self._found)} "))
        self.grid.empty = NOTHING
        self.grid.show(self._found)
        self._show_whole()
        self.refresh_bindings()

    def _show_whole(self) -> None:
        advice = self.grid.selected
        styles = UNCOLOURED if self._stale else self.console_app.state_styles
        page = self.query_one(Page)
        width = max(_NARROWEST, page.scrollable_content_region.width)
        page.query_one(Static).update(advice_body(advice, width, styles) if advice else "")
