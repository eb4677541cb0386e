"""The entry point: finds the command, loads only its module, and turns every failure into an exit code."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn, Protocol, cast

from engine.legible import legible
from ikeconsole.exits import Exit, Failure


@dataclass(frozen=True, slots=True)
class Command:
    """One word of the command line and the module in `ikeconsole.commands` that does it."""

    name: str
    module: str
    summary: str


class _CommandModule(Protocol):
    def add_arguments(self, parser: ArgumentParser, command: str) -> None: ...

    def execute(self, options: Namespace) -> int: ...


COMMANDS = (
    Command("attach", "console", "the console of an engine that runs; without any command: of one started at need"),
    Command("engine", "run_engine", "run the engine in the foreground, without a console"),
    Command("down", "down", "remove what an engine left in the kernel for tunnels to go on without it"),
    Command("demo", "run_engine", "a service, simulated real servers and roaming clients on loopback, as any user"),
    Command("check", "check", "validate the configuration, bind nothing"),
    Command("doctor", "doctor", "what this machine and the real servers can do, and what mends the rest"),
    Command("init", "init", "write a first configuration"),
    Command("status", "show", "what the engine is doing: services, real servers, alarms"),
    Command("services", "show", "the services and their settings"),
    Command("servers", "show", "the real servers, their health and load"),
    Command("sessions", "show", "the sessions, filtered and sorted"),
    Command("events", "events", "what happened, and with --follow what happens"),
    Command("capture", "capture", "a client's IKE messages as they pass, decoded or as a pcap file"),
    Command("advise", "advise", "what to set on servers, gateways and clients, from what was seen"),
    Command("explain", "clients", "why a client is on its real server, and where it would go next"),
    Command("clear", "clients", "forget the sessions and persistence of a client, or one session"),
    Command("move", "clients", "send a client to another real server"),
    Command("pin", "pins", "bind a client to a real server until it is unpinned"),
    Command("unpin", "pins", "let a pinned client be scheduled again"),
    Command("pins", "pins", "the pinned clients"),
    Command("probe", "probe", "ask a real server now whether it is well"),
    Command("enable", "real_servers", "let a real server take new sessions"),
    Command("drain", "real_servers", "keep a real server's sessions, give it no new ones"),
    Command("disable", "real_servers", "take a real server out of service"),
    Command("weight", "real_servers", "change a real server's weight"),
    Command("reload", "configuration", "apply the configuration file"),
    Command("config", "configuration", "show, compare and undo the configuration"),
)


def run() -> NoReturn:
    """Do what the command line says and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """The exit code of a command line; argparse's own usage errors leave with SystemExit 2."""
    _make_writable_in_any_encoding()
    parser = _parser(arguments)
    options = parser.parse_args(arguments)
    if options.read_only and options.command not in (None, "attach"):
        parser.error("--read-only is for the console, not for commands")
    try:
        code = _module(options.command or "attach").execute(options)
        sys.stdout.flush()
    except Failure as failure:
        print(legible("\n  ".join([f"ikeconsole: {failure.message}", *failure.details])), file=sys.stderr)
        return failure.code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return 128 + 2
    return code


def whole_parser() -> ArgumentParser:
    """The parser with the arguments of every command, for what is made of it: manual pages and completions."""
    return _parser([command.name for command in COMMANDS])


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    """The parser of the whole command line; only commands that are named get their arguments, and are imported."""
    parser = ArgumentParser(
        prog="ikeconsole",
        description="An IKEv2 VPN load balancer with an operator console.",
        epilog="exit codes: 0 ok, 1 failed, 2 usage, 3 bad configuration, 4 cannot bind or no privilege, "
        "5 engine not reachable",
    )
    _add_common(parser, default=None)
    parser.add_argument("--read-only", action="store_true", help="the console offers nothing that changes things")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.summary, description=command.summary)
        _add_common(sub, default=SUPPRESS)
        if command.name in arguments:
            _module(command.name).add_arguments(sub, command.name)
    return parser


def _add_common(parser: ArgumentParser, default: str | None) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help="the configuration file")
    parser.add_argument("--socket", metavar="PATH", default=default, help="the engine's control socket")


def _module(name: str) -> _CommandModule:
    command = next(command for command in COMMANDS if command.name == name)
    return cast(_CommandModule, import_module(f"ikeconsole.commands.{command.module}"))


def _make_writable_in_any_encoding() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
