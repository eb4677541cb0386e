"""Exporting the session list from the console: where to, may it be replaced, how far it is, what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.control.api import Refused
from engine.control.records import SessionQuery
from engine.wording import count
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.export_to import ExportTo
from ikeconsole.export import ExportError, export
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import percent

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

PROGRESS_EVERY_S = 2.0


async def export_sessions(app: ConsoleApp, query: SessionQuery) -> None:
    """Ask for a file and begin to write the sessions there; runs in a worker, as it waits for the operator."""
    which = f"The sessions that match {printable(query.filter)}," if query.filter else "All sessions,"
    name = f"~/sessions-{time.strftime('%Y%m%d-%H%M%S')}.csv"
    path = await app.push_screen_wait(ExportTo([f"{which} as .csv or .json; only you may read the file."], name))
    if path is None:
        return
    if path.exists() and not await app.push_screen_wait(
        Confirm(f"Replace {path.name}", [f"{path} is there already. What stands in it is lost."], "Replace")
    ):
        return
    app.run_worker(_write(app, query, path), group="export")


async def _write(app: ConsoleApp, query: SessionQuery, path: Path) -> None:
    told_s = time.monotonic()

    def progress(written: int, of: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= PROGRESS_EVERY_S:
            told_s = time.monotonic()
            text = f"{percent(written, of)} of {count(of, 'session')} written"
            app.notify(text, title=f"exporting to {path.name}", timeout=PROGRESS_EVERY_S, markup=False)

    try:
        written = await export(app.link.ask, query, path, progress)
    except (ExportError, Refused, EngineUnreachable) as error:
        app.notify(str(error), title=f"{path.name}: not exported", severity="error", timeout=10, markup=False)
    else:
        app.notify(f"{count(written, 'session')} in {path}", title="exported", markup=False)
