"""Writing a file from the console: where to, may it be replaced, how far it is, what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.capture import pcap
from engine.control.api import Refused
from engine.control.captured import CapturedMessage
from engine.control.records import SessionQuery
from engine.wording import count
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.export_to import ExportTo
from ikeconsole.export import SUFFIXES, ExportError, export, to_disk, whole_file
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import percent

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

PROGRESS_EVERY_S = 2.0


async def export_sessions(app: ConsoleApp, query: SessionQuery) -> None:
    """Ask for a file and begin to write the sessions there; runs in a worker, as it waits for the operator."""
    which = f"The sessions that match {printable(query.filter)}," if query.filter else "All sessions,"
    name = f"~/sessions-{time.strftime('%Y%m%d-%H%M%S')}.csv"
    lines = [f"{which} as .csv or .json; only you may read the file."]
    if path := await _ask_where(app, ExportTo("Export sessions", lines, name, SUFFIXES)):
        app.run_worker(_write(app, query, path), group="export")


async def export_capture(app: ConsoleApp, messages: Sequence[CapturedMessage]) -> None:
    """Ask for a file and write captured messages there; runs in a worker, as it waits for the operator."""
    name = f"~/capture-{time.strftime('%Y%m%d-%H%M%S')}.pcap"
    lines = [
        f"{count(len(messages), 'message')}, with the addresses of client and service, for Wireshark and tcpdump; "
        "only you may read the file."
    ]
    path = await _ask_where(app, ExportTo("Export capture", lines, name, [".pcap"]))
    if path is None:
        return
    try:
        await asyncio.to_thread(_write_pcap, messages, path)
    except ExportError as error:
        app.notify(str(error), title=f"{path.name}: not exported", severity="error", timeout=10, markup=False)
    else:
        app.notify(f"{count(len(messages), 'message')} in {path}", title="exported", markup=False)


async def _ask_where(app: ConsoleApp, dialog: ExportTo) -> Path | None:
    """Ask for a file, and whether it may be replaced; None: nothing is to be written."""
    path = await app.push_screen_wait(dialog)
    if path is None or not path.exists():
        return path
    lines = [f"{path} is there already. What stands in it is lost."]
    return path if await app.push_screen_wait(Confirm(f"Replace {path.name}", lines, "Replace")) else None


def _write_pcap(messages: Sequence[CapturedMessage], path: Path) -> None:
    with whole_file(path) as file:
        file.write(pcap.file_header())
        for message in messages:
            file.write(pcap.record(message, pcap.Side.CLIENT))
        to_disk(file)


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
