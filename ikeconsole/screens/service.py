"""The settings of a service, its real servers among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual import on
from textual.widget import Widget

from engine.config import schema
from engine.config.problems import Problem
from ikeconsole.actions import bindings
from ikeconsole.screens.form import Form, section_head
from ikeconsole.screens.real_server_settings import RealServerSettings
from ikeconsole.settings.editing import Editing, Place
from ikeconsole.widgets.entry_grid import Entry, EntryGrid
from ikeconsole.widgets.grid import Grid

_OF_ENTRIES = ("add", "clone", "remove")


class Service(Form):
    """The form of one service; with an edit, one that was begun elsewhere, such as for a new service."""

    PLACE = "service"
    BINDINGS = bindings("service")
    RECORD = schema.Service
    HEADER = "service"

    def __init__(self, name: str, editing: Editing | None = None, place: Place | None = None) -> None:
        super().__init__(editing, place)
        self._name = name
        self._entries: list[Entry] = []

    @property
    def title_words(self) -> str:
        """Its name, that it has or had."""
        name = self._table.get("name")
        return str(name) if name else self._name or "new service"

    @property
    def crumb(self) -> str:
        """Its name stands for it."""
        return self._name or "new service"

    def find(self, editing: Editing) -> Place | None:
        """The service of that name."""
        names = [service.get("name") for service in editing.value(("service",)) or ()]
        return ("service", names.index(self._name)) if self._name in names else None

    def lists(self) -> Iterable[Widget]:
        """Its real servers."""
        yield section_head("service.real_server")
        yield EntryGrid()

    def draw_lists(self, problems: Sequence[Problem]) -> None:
        """Show the real servers, and which of them have problems."""
        editing, place = self.editing, self.spot.place
        if editing is None or place is None:
            return
        self._entries = []
        for number, table in enumerate(self._table.get("real_server", ())):
            at = (*place, "real_server", number)
            key = editing.key_of(at) + "."
            wrong = any(problem.key.startswith(key) for problem in problems)
            self._entries.append(Entry(number, table, table != editing.before(at), wrong))
        self.grid.show(self._entries)

    def to_problem(self) -> bool:
        """Its own fields come first, then the real servers: what is wrong with one is told, as it stands elsewhere."""
        here = super().to_problem()
        wrong = next((entry.number for entry in self._entries if entry.wrong), None)
        if not here and wrong is not None:
            self.grid.select(wrong)
            self.set_focus(self.grid)
        return here

    def offers(self, action: str) -> bool:
        """Real servers are added and removed while their list has the focus."""
        if action not in _OF_ENTRIES:
            return True
        if not self.is_mounted or not self.grid.has_focus:
            return False
        return action == "add" or self.grid.selected is not None

    def action_add(self) -> None:
        """Fill in a new real server."""
        self._add({})

    def action_clone(self) -> None:
        """Fill in another real server like the selected one."""
        if row := self.grid.selected:
            self._add({key: value for key, value in row.table.items() if key not in ("name", "address")})

    def action_remove(self) -> None:
        """Take the selected real server out."""
        row, place = self.grid.selected, self.spot.place
        if row is not None and place is not None and self.editing is not None:
            self.editing.remove((*place, "real_server", row.number))
            self.draw()

    @on(Grid.Opened)
    def _open(self) -> None:
        row, place = self.grid.selected, self.spot.place
        if row is not None and place is not None and self.editing is not None:
            self.app.push_screen(RealServerSettings(self.editing, (*place, "real_server", row.number)))

    @property
    def grid(self) -> EntryGrid:
        """The real servers."""
        return self.query_one(EntryGrid)

    @property
    def _table(self) -> dict[str, Any]:
        if self.editing is None or self.spot.place is None:
            return {}
        table: dict[str, Any] = self.editing.value(self.spot.place)
        return table

    def _add(self, table: dict[str, Any]) -> None:
        if self.editing is not None and self.spot.place is not None:
            place = self.editing.add((*self.spot.place, "real_server"), table)
            self.draw()
            self.grid.action_last()
            self.app.push_screen(RealServerSettings(self.editing, place))
