"""What can be typed after `:`, in the words of the command line: which phrases there are, and what each does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

from engine.control.status import ServerStatus
from ikeconsole.actions import ACTIONS, PLACES
from ikeconsole.changes import servers as server_changes
from ikeconsole.changes import sessions as session_changes
from ikeconsole.dialogs.explanation import explain
from ikeconsole.looks.themes import ConsoleTheme
from ikeconsole.navigation import open_advice, open_capture, open_sessions

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


@dataclass(frozen=True, slots=True)
class Phrase:
    """A whole command: its words, what it does in a sentence, and doing it."""

    words: str
    help: str
    run: Callable[[], Awaitable[None]]


def standing(app: ConsoleApp) -> Iterator[Phrase]:
    """The phrases that need no further word."""
    for name, action in zip(PLACES, ACTIONS["console"], strict=False):
        yield Phrase(name, action.help, partial(app.go_to, name))
    for action in ACTIONS["console"][len(PLACES) :]:
        if app.check_action(action.name, ()) and action.name not in ("palette", "back"):
            yield Phrase(action.title, action.help, partial(_act, app, action.name))
    place = app.place
    if place is not None:
        for action in ACTIONS[place.PLACE]:
            if place.check_action(action.name, ()):
                words = f"{action.title} (here)" if action.title in PLACES else action.title
                yield Phrase(words, action.help, partial(_act, app, action.name))
    for name, theme in app.available_themes.items():
        if isinstance(theme, ConsoleTheme):
            yield Phrase(f"theme {name}", "Wear these colours.", partial(_wear, app, name))


def about_servers(app: ConsoleApp) -> Iterator[Phrase]:
    """What can be done to each real server."""
    if app.snapshot is None or app.read_only:
        return
    for service in app.snapshot.status.services:
        for server in service.servers:
            name = f"{server.service}/{server.name}"
            for verb, state in (("enable", "enabled"), ("drain", "drain"), ("disable", "disabled")):
                if state != server.admin_state:
                    change = partial(server_changes.change_state, app, server.service, server.name, state)
                    yield Phrase(f"{verb} {name}", _help(verb), change)
            yield Phrase(f"weight {name}", _help("weight"), partial(server_changes.change_weight, app, server))
            yield Phrase(f"probe {name}", _help("probe"), partial(_probe, app, server))


def typed(app: ConsoleApp, text: str) -> Iterator[Phrase]:
    """The phrases that the operator's own words make: addresses, filters, numbers."""
    match text.split():
        case ["explain", client] if _is_client(client):
            yield Phrase(
                text, f"Why {client} is where it is, and where it would go next.", partial(explain, app, client)
            )
        case ["sessions", *conditions] if conditions:
            line = " ".join(conditions)
            yield Phrase(text, "The sessions that this line describes.", partial(open_sessions, app, line))
        case ["capture", client] if app.may_reveal and _is_client(client):
            yield Phrase(text, f"Watch the IKE messages of {client} as they pass.", partial(_capture, app, client))
        case ["advise", target]:
            service, _, server = target.partition("/")
            yield Phrase(text, f"What to set because of {target}.", partial(_advise, app, service, server))
        case [*_] if app.read_only:
            return
        case ["clear", client] if _is_client(client):
            yield Phrase(
                text, f"Forget {client}: its sessions end.", partial(session_changes.clear_client, app, client)
            )
        case ["move", client, server] if _is_client(client):
            sentence = f"Send {client} to {server} with its next packet."
            yield Phrase(text, sentence, partial(session_changes.move_client, app, client, server))
        case ["pin", client, server] if _is_client(client):
            sentence = f"Bind {client} to {server}."
            yield Phrase(text, sentence, partial(session_changes.pin_client, app, client, server))
        case ["unpin", client] if _is_client(client):
            yield Phrase(text, f"Let {client} be scheduled again.", partial(session_changes.unpin_client, app, client))


_SHAPES = {
    "sessions FILTER": "The sessions that a line of conditions describes.",
    "advise SERVICE/SERVER": "What to set on a real server, or because of it.",
    "explain ADDRESS": "Why a client is where it is, and where it would go next.",
}
_REVEALING_SHAPES = {"capture ADDRESS": "Watch a client's IKE messages as they pass."}
_CHANGING_SHAPES = {
    "clear ADDRESS": "Forget a client: its sessions end.",
    "move ADDRESS SERVER": "Send a client to another real server.",
    "pin ADDRESS SERVER": "Bind a client to a real server.",
    "unpin ADDRESS": "Let a pinned client be scheduled again.",
}


def unfinished(app: ConsoleApp) -> Iterator[Phrase]:
    """The phrases that `typed` takes once their capital words are replaced; chosen, they are begun."""
    revealing = _REVEALING_SHAPES if app.may_reveal else {}
    for shape, help in (_SHAPES | revealing | ({} if app.read_only else _CHANGING_SHAPES)).items():
        yield Phrase(shape, help, partial(_begin, app, f"{shape.split()[0]} "))


def _help(name: str) -> str:
    return next(action.help for action in ACTIONS["server"] if action.name == name)


def _is_client(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


async def _act(app: ConsoleApp, action: str) -> None:
    place = app.place
    namespace = place if place is not None and hasattr(place, f"action_{action}") else app
    await app.run_action(action, namespace)


async def _advise(app: ConsoleApp, service: str, server: str) -> None:
    open_advice(app, service, server)


async def _wear(app: ConsoleApp, theme: str) -> None:
    app.choose_theme(theme)


async def _capture(app: ConsoleApp, client: str) -> None:
    open_capture(app, client)


async def _probe(app: ConsoleApp, server: ServerStatus) -> None:
    await server_changes.probe_now(app, server.service, server.name)


async def _begin(app: ConsoleApp, beginning: str) -> None:
    app.open_palette(beginning)
