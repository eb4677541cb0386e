"""reload and config: the running configuration, its file and its history."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_change, print_json, terminal
from ikeconsole.exits import Exit


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """What to do with the configuration."""
    if command == "config":
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        show = actions.add_parser("show", help="print the running configuration, every default written out")
        diff = actions.add_parser("diff", help="compare the running configuration with the file on disk")
        history = actions.add_parser("history", help="list saved revisions, newest first")
        history.add_argument("--limit", type=int, default=20, metavar="N", help="at most N revisions (20)")
        history.add_argument("--diff", action="store_true", help="print what each revision changed")
        undo = actions.add_parser("undo", help="return the file to the revision before the last, and apply it")
        for action in (show, diff, history, undo):
            add_json(action)
    else:
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
