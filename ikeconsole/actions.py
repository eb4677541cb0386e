"""Everything the operator can do by key: bindings, footer, help and command palette all come from here."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; the screen, grid or app it belongs to has a method `action_NAME`."""

    name: str
    keys: str
    """In Textual's names, the first one being shown."""
    title: str
    """One or two words, for the footer."""
    help: str
    """One sentence, for the help screen and the palette."""
    changes: bool = False
    """Whether it changes the engine: not offered where one may only look."""
    footer: bool = True
    reveals: bool = False
    """Whether it shows what users send, which takes the right to change the engine."""


def _place(key: str, name: str, help: str) -> Action:
    return Action(f"go('{name}')", key, name, help, footer=False)


PLACES = ("overview", "sessions", "servers", "services", "events")
"""What the number keys go to, in their order."""

_SERVER_CHANGES = (
    Action("enable", "e", "enable", "Let the server take new sessions.", changes=True),
    Action("drain", "d", "drain", "Keep the server's sessions, give it no new ones.", changes=True),
    Action("disable", "x", "disable", "Take the server out of service: its sessions end.", changes=True),
    Action("weight", "w", "weight", "Change the server's share of new sessions.", changes=True),
    Action("probe", "b", "probe", "Probe the server's health now.", changes=True),
)

_CAPTURE = Action("capture", "o", "capture", "Watch the client's IKE messages as they pass.", reveals=True)

_FORM = (
    Action("apply", "ctrl+s", "apply", "Show what your changes would do, then apply and save them.", changes=True),
    Action("leave", "escape", "back", "Back to where you came from; changes that are not applied are asked about."),
)

ACTIONS: dict[str, tuple[Action, ...]] = {
    "console": (
        _place("1", "overview", "Services, real servers, alarms: is it up, and who is hurt?"),
        _place("2", "sessions", "Every tunnel: which client is on which server, and why."),
        _place("3", "servers", "The real servers: health, load, and taking them in and out."),
        _place("4", "services", "The services and their settings."),
        _place("5", "events", "What happened."),
        Action("back", "escape", "back", "Back to where you came from.", footer=False),
        Action("alarms", "a", "alarms", "Every alarm, what to do about it, and where.", footer=False),
        Action("advise", "A", "advise", "What to set on servers, gateways and clients, and why.", footer=False),
        Action("palette", "colon,ctrl+p", "command", "Any command, in the words of the command line.", footer=False),
        Action("help", "question_mark,f1", "help", "The keys of this screen.", footer=False),
        Action("about", "i", "about", "Which engine this is, and how to ask it from another terminal.", footer=False),
        Action("reload", "r", "reload", "Apply the configuration file again.", changes=True, footer=False),
        Action("history", "h", "history", "What the configuration was before, and undo.", footer=False),
        Action("pause", "space", "pause", "Stop and resume refreshing.", footer=False),
        Action("faster", "plus", "faster", "Refresh more often.", footer=False),
        Action("slower", "minus", "slower", "Refresh less often.", footer=False),
        Action("theme", "t", "theme", "Choose other colours.", footer=False),
        Action("quit", "q,ctrl+q", "quit", "Leave the console.", footer=False),
    ),
    "grid": (
        Action("cursor_up", "up,k", "up", "One row up.", footer=False),
        Action("cursor_down", "down,j", "down", "One row down.", footer=False),
        Action("page_up", "pageup,ctrl+b", "page up", "One screenful up.", footer=False),
        Action("page_down", "pagedown,ctrl+f", "page down", "One screenful down.", footer=False),
        Action("first", "home,g", "first", "To the first row.", footer=False),
        Action("last", "end,G", "last", "To the last row.", footer=False),
        Action("open", "enter", "open", "Open what the cursor is on."),
    ),
    "overview": _SERVER_CHANGES,
    "sessions": (
        Action("filter", "slash", "filter", "Show only the sessions that a line of conditions describes."),
        Action("clear", "c", "clear", "Forget the client, or one session of it: they end.", changes=True),
        Action("move", "m", "move", "Send the client to another real server.", changes=True),
        Action("pin", "p", "pin", "Bind the client to its real server, or let it go again.", changes=True),
        Action("copy", "y", "copy", "Copy the session's client and SPIs to your clipboard."),
        _CAPTURE,
        Action("export", "w", "export", "Write the filtered list to a file, as CSV or JSON."),
        Action("sort", "s", "sort", "Sort by the next column."),
        Action("reverse", "S", "reverse", "Turn the order round."),
    ),
    "session_filter": (
        Action("complete(1)", "tab", "complete", "Finish the word, or try the next that it could become."),
        Action("complete(-1)", "shift+tab", "back", "Try the word before.", footer=False),
        Action("recall(-1)", "up", "earlier", "The filter line before."),
        Action("recall(1)", "down", "later", "The filter line after.", footer=False),
        Action("submit", "enter", "keep", "Go back to the list, filtered so."),
        Action("leave", "escape", "as it was", "Go back to the list as it was before."),
    ),
    "session": (
        Action("clear", "c", "clear", "Forget this session, or its client: they end.", changes=True),
        Action("move", "m", "move", "Send the client to another real server.", changes=True),
        Action("pin", "p", "pin", "Bind the client to its real server, or let it go again.", changes=True),
        Action("copy", "y", "copy", "Copy client, server and SPIs to your clipboard."),
        _CAPTURE,
        Action("server", "enter", "server", "Open its real server."),
    ),
    "capture": (
        Action("follow", "f", "follow", "Stay at the newest message, or stop doing so."),
        Action("export", "w", "export", "Write what was captured to a pcap file, for Wireshark."),
        Action("stop", "escape", "stop and go back", "End the capture and go back; what was captured is gone."),
    ),
    "servers": (
        Action("filter", "slash", "filter", "Show only the servers whose service, name or address has this text."),
        *_SERVER_CHANGES,
    ),
    "server": (
        *_SERVER_CHANGES,
        Action("sessions", "enter", "sessions", "The sessions on this server."),
    ),
    "services": (
        Action("add", "n", "new", "Add a service.", changes=True),
        Action("clone", "c", "clone", "Add a service like this one.", changes=True),
        Action("remove", "D,delete", "remove", "Remove the service.", changes=True),
        Action("engine", "E", "engine settings", "The settings that concern the whole engine."),
    ),
    "form": _FORM,
    "service": (
        Action("add", "n", "new", "Add a real server.", changes=True),
        Action("clone", "c", "clone", "Add a real server like this one.", changes=True),
        Action("remove", "D,delete", "remove", "Take the real server out.", changes=True),
        *_FORM,
    ),
    "events": (
        Action("filter", "slash", "filter", "Show only the events that have these words."),
        Action("follow", "f", "follow", "Stay at the newest event, or stop doing so."),
        Action("severity", "s", "severity", "Hide the less important events."),
        Action("place", "o", "go there", "Open the session or server concerned (so does Enter)."),
    ),
    "advice": (
        Action("copy", "y", "copy", "Copy commands or settings to your clipboard."),
        Action("widen", "e", "everything", "All advice, not only on what you came from."),
    ),
    "history": (Action("undo", "u", "undo", "Return to the configuration before the last change.", changes=True),),
}
"""By the place where they are offered."""


def bindings(place: str) -> list[BindingType]:
    """What Textual binds in a place."""
    return [
        Binding(action.keys, action.name, action.title, show=action.footer, tooltip=action.help)
        for action in ACTIONS[place]
    ]


def find(name: str, *places: str) -> Action | None:
    """The action of a name in the first of these places that has it."""
    return next((action for place in places for action in ACTIONS[place] if action.name == name), None)
