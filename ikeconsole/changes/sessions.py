"""What the operator does to a session and its client, wherever it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.control import calls
from engine.control.records import SessionPage, SessionQuery, SessionRow
from ikeconsole.changes.asking import ask, confirm_and_do, do, foresee
from ikeconsole.dialogs.clear_choice import ClearChoice
from ikeconsole.dialogs.server_choice import ServerChoice
from ikeconsole.render.columns import printable

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


async def clear(app: ConsoleApp, row: SessionRow) -> None:
    """Forget a client, or one of its sessions; runs in a worker, as it waits for the operator."""
    host = host_of(row.client)
    query = SessionQuery(client=host, limit=1)
    page: SessionPage | None = await ask(app, calls.ListSessions(query=query), "Clear: not possible")
    if page is None:
        return
    if page.matched <= 1:
        await clear_client(app, host)
        return
    previews = calls.PreviewClear(session=row.id), calls.PreviewClear(client=host)
    effects = await foresee(app, "Clear: not possible", *previews)
    if effects is None:
        return
    whole = await app.push_screen_wait(ClearChoice(host, page.matched, *effects))
    if whole is not None:
        await do(app, calls.Clear(client=host) if whole else calls.Clear(session=row.id), "Clear: not done")


async def move(app: ConsoleApp, row: SessionRow) -> None:
    """Send a session's client to another real server; runs in a worker, as it waits for the operator."""
    service = app.snapshot.service(row.service) if app.snapshot else None
    if service is None:
        app.notify(f"there is no service {row.service} any more", title="Move: not possible", markup=False)
        return
    host = host_of(row.client)
    name = await app.push_screen_wait(ServerChoice(host, row.server, service.servers, app.state_styles))
    if name is None:
        return
    await move_client(app, host, f"{row.service}/{name}")


async def pin_or_unpin(app: ConsoleApp, row: SessionRow) -> None:
    """Bind a session's client to its real server, or let it go; runs in a worker, as it waits for the operator."""
    host = host_of(row.client)
    if row.pinned:
        await unpin_client(app, host)
    else:
        await pin_client(app, host, f"{row.service}/{row.server}")


async def clear_client(app: ConsoleApp, host: str) -> None:
    """Forget a client address or prefix; runs in a worker, as it waits for the operator."""
    await confirm_and_do(
        app,
        calls.Clear(client=host),
        title=f"Clear {host}",
        verb="Clear",
        preview=calls.PreviewClear(client=host),
    )


async def move_client(app: ConsoleApp, host: str, server: str) -> None:
    """Send a client to SERVICE/SERVER; runs in a worker, as it waits for the operator."""
    await confirm_and_do(
        app,
        calls.Move(client=host, server=server),
        title=f"Move {host} to {server}",
        verb="Move",
        preview=calls.PreviewMove(client=host, server=server),
    )


async def pin_client(app: ConsoleApp, host: str, server: str) -> None:
    """Bind a client to SERVICE/SERVER; runs in a worker, as it waits for the operator."""
    lines = [
        f"New sessions of {host} go to {printable(server)}, until you unpin it. Its present ones stay where they are."
    ]
    await confirm_and_do(app, calls.Pin(client=host, server=server), title=f"Pin {host}", verb="Pin", lines=lines)


async def unpin_client(app: ConsoleApp, host: str) -> None:
    """Let a pinned client be scheduled again; runs in a worker, as it waits for the operator."""
    lines = [f"New sessions of {host} are scheduled again. Its present ones stay where they are."]
    await confirm_and_do(app, calls.Unpin(client=host), title=f"Unpin {host}", verb="Unpin", lines=lines)


def copy(app: ConsoleApp, row: SessionRow) -> None:
    """Put a session's client, real server and SPIs on the clipboard of the operator's terminal (OSC 52)."""
    spis = f" spi {row.spi_i}/{row.spi_r or 'none yet'}" if row.spi_i else ""
    text = printable(f"{row.client} on {row.service}/{row.server}{spis}")
    app.copy_to_clipboard(text)
    app.notify(text, title="copied, if your terminal allows it", markup=False)


def host_of(client: str) -> str:
    """The address in 198.51.100.7:4500 or [2001:db8::7]:4500."""
    host, colon, _ = client.rpartition(":")
    return host.strip("[]") if colon and (host.startswith("[") or ":" not in host) else client
