"""init: writes a first configuration that validates and explains itself, by questions or by options."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from ipaddress import ip_address
from pathlib import Path

from engine.paths import SYSTEM_CONFIG
from ikeconsole.exits import Exit, Failure
from ikeconsole.first_configuration import FirstService, first_configuration, write
from ikeconsole.interview import interview
from ikeconsole.unwritable import unwritable


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """What the configuration says, and where it goes."""
    parser.description = "Write a first configuration. At a terminal, what is not given here is asked for."
    parser.add_argument("--name", help="name of the service (vpn)")
    parser.add_argument("--address", type=_address, metavar="ADDR", help="the address that clients dial")
    parser.add_argument(
        "--server",
        dest="servers",
        action="append",
        type=_server,
        metavar="NAME=ADDR",
        help="a real server; give one --server for each",
    )
    parser.add_argument(
        "--source",
        choices=("transparent", "snat"),
        help="what real servers see as source: the clients' own addresses (the default) or this machine's",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"({SYSTEM_CONFIG} where that can be written, else config.toml)"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def execute(options: Namespace) -> int:
    """Validate the new configuration, then write it."""
    from engine.config.load import parse
    from engine.config.problems import ConfigError

    output = _output(options)
    if os.path.lexists(output) and not options.force:
        raise _exists(output)
    text = first_configuration(_service(options), output)
    try:
        parse(text, output)
    except ConfigError as error:
        raise Failure(Exit.BAD_CONFIG, "nothing was written:", error.lines()) from error
    try:
        write(text, output, replace=options.force)
    except FileExistsError as error:
        raise _exists(output) from error
    except OSError as error:
        raise Failure(Exit.FAILED, f"{output} cannot be written: {unwritable(error, output)}") from error
    print(f"{output} written. Next: {_next(output)}")
    return Exit.OK


def _service(options: Namespace) -> FirstService:
    if options.address and options.servers:
        return FirstService(
            options.name or "vpn", options.address, tuple(options.servers), options.source or "transparent"
        )
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, "without a terminal to ask at, init needs --address and at least one --server")
    return interview(options.name, options.address, options.servers, options.source)


def _output(options: Namespace) -> Path:
    if options.output or options.config:
        return Path(options.output or options.config)
    return SYSTEM_CONFIG if os.access(SYSTEM_CONFIG.parent, os.W_OK) else Path("config.toml")


def _exists(output: Path) -> Failure:
    return Failure(Exit.FAILED, f"{output} exists: --force replaces it, --output names another file")


def _next(output: Path) -> str:
    if output == SYSTEM_CONFIG and Path("/run/systemd/system").is_dir():
        return "systemctl enable --now ikeconsole"
    return f"ikeconsole check -c {output}, then ikeconsole engine -c {output}"


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: write an address such as 203.0.113.10") from error


def _server(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and address):
        raise ArgumentTypeError(f"{text!r}: write NAME=ADDRESS, such as rras-1=10.0.0.11")
    return name, address
