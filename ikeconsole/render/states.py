"""States as glyph, word and colour, readable without the colour."""

from __future__ import annotations

from rich.text import Text

from engine.control.records import ServerStatus, ServiceStatus

ALARM = "▲"

_SEVERITIES = {
    "info": (" ", ""),
    "notice": ("•", "cyan"),
    "warning": (ALARM, "yellow"),
    "error": (ALARM, "bold red"),
}


def server_state(server: ServerStatus) -> Text:
    """What a real server does for its service: what the operator wants, unless its health forbids it."""
    match server.admin_state, server.health:
        case "disabled", _:
            return Text("✕ disabled", "dim")
        case _, "down":
            return Text("○ down", "bold red")
        case _, "unknown":
            return Text("· unknown", "yellow")
        case "drain", _:
            return Text("◐ drain", "yellow")
        case _:
            return Text("● up", "green")


def service_state(service: ServiceStatus) -> Text:
    """Whether a service serves."""
    match service.state:
        case "up":
            return Text("● up", "green")
        case "down":
            return Text("○ down", "bold red")
        case other:
            return Text(f"{ALARM} {other}", "yellow")


def severity(name: str) -> Text:
    """The glyph of an event's severity."""
    glyph, style = _SEVERITIES.get(name, ("?", ""))
    return Text(glyph, style)
