"""reload and config: the running configuration, its file and its history."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_change, print_json, terminal
from ikeconsole.exits import Exit

_ACTIONS = (
    "show: the running configuration, every default written out; diff: what the file on disk says otherwise; "
    "history: saved revisions; undo: return the file to the revision before the last, and apply it"
)


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """What to do with the configuration."""
    if command == "config":
        parser.add_argument("action", choices=("show", "diff", "history", "undo"), help=_ACTIONS)
        parser.add_argument("--limit", type=int, default=20, metavar="N", help="history: at most N revisions (20)")
        parser.add_argument("--diff", action="store_true", help="history: also what each revision changed")
    add_json(parser)


def execute(options: Namespace) -> int:
    """Apply, show, compare, list or undo."""
    match "reload" if options.command == "reload" else options.action:
        case "reload":
            change = ask(options, lambda client: client.reload(), invalid=Exit.BAD_CONFIG)
            print_change(change, as_json=options.json)
        case "undo":
            change = ask(options, lambda client: client.undo(), invalid=Exit.BAD_CONFIG)
            print_change(change, as_json=options.json)
        case "history":
            _print_history(options)
        case action:
            _print_configuration(options, difference=action == "diff")
    return Exit.OK


def _print_configuration(options: Namespace, *, difference: bool) -> None:
    state = ask(options, lambda client: client.config())
    if options.json:
        print_json(state)
    elif not difference:
        print(state.text, end="")
    elif state.on_disk_differs:
        print(state.difference, end="")
    else:
        print(f"{state.path} is what the engine runs")


def _print_history(options: Namespace) -> None:
    revisions = ask(options, lambda client: client.history(limit=options.limit))
    if options.json:
        print_json(revisions)
        return
    from ikeconsole.render.history import history

    console = terminal()
    console.print(history(revisions, console.width, differences=options.diff))
