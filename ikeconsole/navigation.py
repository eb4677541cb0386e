"""How one place opens another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.control.status import Alarm
from ikeconsole.changes.sessions import host_of

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


def open_server(app: ConsoleApp, service: str, server: str) -> None:
    """Open the page of a real server."""
    from ikeconsole.screens.server import Server

    app.push_screen(Server(service, server))


def open_service(app: ConsoleApp, service: str) -> None:
    """Open the settings of a service."""
    from ikeconsole.screens.service import Service

    app.push_screen(Service(service))


def open_advice(app: ConsoleApp, service: str = "", server: str = "") -> None:
    """Open the advice on a service or a real server; without names on everything."""
    from ikeconsole.screens.advice import Advised

    app.push_screen(Advised(service, server))


async def open_sessions(app: ConsoleApp, line: str) -> None:
    """Go to the sessions that a filter line describes."""
    from ikeconsole.screens.sessions import Sessions

    await app.go_to("sessions")
    if isinstance(app.place, Sessions):
        app.place.show_filter(line)


def open_capture(app: ConsoleApp, client: str) -> None:
    """Capture the IKE messages of a client address or prefix."""
    from ikeconsole.screens.capture import Capture

    app.push_screen(Capture(client))


async def open_concerned(app: ConsoleApp, *, service: str, server: str, client: str) -> None:
    """Open what an event is about: the client's sessions, else the real server, else the service."""
    if client:
        await open_sessions(app, host_of(client))
    elif server:
        open_server(app, service, server)
    elif service:
        open_service(app, service)


async def open_alarm(app: ConsoleApp, alarm: Alarm) -> None:
    """Open the place where something can be done about an alarm."""
    match alarm.place:
        case "server" if alarm.server:
            open_server(app, alarm.service, alarm.server)
        case "service" if alarm.service:
            open_service(app, alarm.service)
        case "sessions":
            names = (("service", alarm.service), ("server", alarm.server))
            await open_sessions(app, " ".join(f"{word}:{name}" for word, name in names if name))
        case "configuration":
            await app.run_action("history")
        case _:
            await app.go_to("events")
