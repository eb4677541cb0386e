"""The five places that number keys go to."""

from __future__ import annotations

from ikeconsole.screens.events import Events
from ikeconsole.screens.overview import Overview
from ikeconsole.screens.place import Place
from ikeconsole.screens.servers import Servers
from ikeconsole.screens.services import Services
from ikeconsole.screens.sessions import Sessions

ROOTS: dict[str, type[Place]] = {
    "overview": Overview,
    "sessions": Sessions,
    "servers": Servers,
    "services": Services,
    "events": Events,
}
"""By the names of `ikeconsole.actions.PLACES`."""
