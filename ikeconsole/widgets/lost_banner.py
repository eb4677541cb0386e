"""The line that says that the engine does not answer, and how old everything shown is."""

from __future__ import annotations

import time

from textual.content import Content

from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age
from ikeconsole.widgets.bar import Bar


class LostBanner(Bar):
    """Takes a line only while the engine is lost, and a second one where what to do would be cut off."""

    def line(self, width: int) -> Content | None:
        """What is known about the loss."""
        lost = self.console_app.lost
        if lost is None:
            return None
        since = age(time.monotonic() - lost.since_s)
        shown = "; this is what it was then" if self.console_app.snapshot else ""
        return Content(f" ▲ engine lost {since} ago{shown}; trying again: {printable(lost.reason)}")
