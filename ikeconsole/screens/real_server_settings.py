"""The settings of a real server, as part of the edit of its service."""

from __future__ import annotations

from engine.config import schema
from ikeconsole.actions import bindings
from ikeconsole.screens.form import Form
from ikeconsole.settings.editing import Editing, Place


class RealServerSettings(Form):
    """The form of one real server; leaving it keeps what was edited, in the form of the service."""

    PLACE = "form"
    BINDINGS = bindings("form")
    RECORD = schema.RealServer
    HEADER = "service.real_server"

    def __init__(self, editing: Editing, place: Place) -> None:
        super().__init__(editing, place)

    @property
    def title_words(self) -> str:
        """Its service's name and its own."""
        if self.editing is None or self.spot.place is None:
            return "the real server"
        service, server = self.editing.value(self.spot.place[:2]), self.editing.value(self.spot.place)
        return f"{service.get('name') or 'new service'}/{server.get('name') or 'new server'}"

    @property
    def crumb(self) -> str:
        """Its own name stands for it."""
        return self.title_words.rpartition("/")[2]

    def find(self, editing: Editing) -> Place | None:
        """It is always opened with its place."""
        return self.spot.place

    def action_leave(self) -> None:
        """Back to the service; a new one that nothing was filled in for is forgotten."""
        if self.editing is not None and self.spot.place is not None and not self.editing.value(self.spot.place):
            self.editing.remove(self.spot.place)
        self.app.pop_screen()
