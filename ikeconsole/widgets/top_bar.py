"""The first line: where one is, and how the engine is as a whole."""

from __future__ import annotations

import time

from textual.content import Content

from engine.wording import count
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import grouped, si
from ikeconsole.widgets.bar import Bar, spread


class TopBar(Bar):
    """Host and breadcrumbs; sessions and rates; the refresh interval and the engine's clock."""

    def line(self, width: int) -> Content:
        """The first line."""
        app = self.console_app
        snapshot = app.snapshot
        host = printable(snapshot.status.host) if snapshot else "ikeconsole"
        crumbs = [part for crumb in app.crumbs for part in ((" › ", "dim"), printable(crumb))]
        kind = (f" ({app.sub_title})", "bold") if app.sub_title else ""
        left = Content.assemble(" ", (host, "bold"), kind, *crumbs)
        mark = "⏸ paused" if app.paused else f"⏵ {app.refresh_s:g}s"
        if snapshot is None:
            return spread(left, Content(f"{mark} "), width)
        status = snapshot.status
        clock = time.strftime("%H:%M:%S", time.localtime(status.now_at))
        counts = count(status.present, "session")
        idle = f", {grouped(status.idle)} idle" if status.idle else ""
        rates = f"{si(8 * status.rates.bytes_in):>4}b/s in {si(8 * status.rates.bytes_out):>4}b/s out"
        only_look = "read-only  " if app.read_only else ""
        # Where one is matters most: the rest gives way to it, the least important first.
        choices = (
            f"{only_look}{counts}{idle}  {rates}  {mark}  {clock} ",
            f"{only_look}{counts}  {rates}  {mark}  {clock} ",
            f"{only_look}{counts}  {mark}  {clock} ",
            f"{only_look}{mark}  {clock} ",
            f"{only_look}{mark} ",
        )
        fitting = (choice for choice in choices if left.cell_length + len(choice) < width)
        return spread(left, Content(next(fitting, choices[-1])), width)
