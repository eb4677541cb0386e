"""init: writes a first configuration that validates and explains itself."""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from ikeconsole.exits import Exit, Failure

_HEAD = """\
# ikeconsole: where VPN clients go. Check a change with: ikeconsole check -c {file}
# Apply it with: ikeconsole reload

[[service]]
name = {name}
# The address that VPN clients dial. It must be an address of this machine.
address = {address}
ike_port = 500
nat_t_port = 4500
# What a real server sees as source. "transparent": the client's own address and port; the real servers' default
# gateway must then be this machine. "snat": an address of this machine; works in any network, but servers limit how
# many tunnels they accept from one address.
source = {source}
# One client's traffic to port 500 and to port 4500 goes to one real server.
port_following = true
scheduler = "weighted-least-connections"
# A client comes back to the server it had for so long after its last packet.
persistence = "source-address"
persistence_timeout = "30m"

[service.health]
# Asks each real server's IKE service, not only whether the machine answers pings.
type = "ike"
interval = "5s"
timeout = "2s"
fall = 3
rise = 2
"""

_REAL_SERVER = """
[[service.real_server]]
name = {name}
address = {address}
weight = 100
# "drain" keeps its sessions and gives it no new ones; "disabled" takes it out of service.
state = "enabled"
"""


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """What the configuration says, and where it goes."""
    parser.add_argument("--name", default="vpn", help="name of the service (vpn)")
    parser.add_argument("--address", required=True, metavar="ADDR", help="the address that clients dial")
    parser.add_argument(
        "--server",
        dest="servers",
        action="append",
        required=True,
        type=_server,
        metavar="NAME=ADDR",
        help="a real server; give one --server for each",
    )
    parser.add_argument("--source", choices=("transparent", "snat"), default="transparent")
    parser.add_argument("--output", type=Path, default=Path("config.toml"), metavar="FILE", help="(config.toml)")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def execute(options: Namespace) -> int:
    """Validate the new configuration, then write it."""
    from engine.config.load import parse
    from engine.config.problems import ConfigError

    output: Path = options.output
    text = first_configuration(options)
    try:
        parse(text, output)
    except ConfigError as error:
        raise Failure(Exit.BAD_CONFIG, "nothing was written:", error.lines()) from error
    try:
        _write(text, output, replace=options.force)
    except FileExistsError as error:
        raise Failure(Exit.FAILED, f"{output} exists: --force replaces it, --output names another file") from error
    except OSError as error:
        raise Failure(Exit.FAILED, f"{output} cannot be written: {error.strerror}") from error
    print(f"{output} written. Next: ikeconsole check -c {output}, then ikeconsole engine -c {output}")
    return Exit.OK


def first_configuration(options: Namespace) -> str:
    """The text of the configuration that the options describe."""
    service = _HEAD.format(
        file=options.output,
        name=_quoted(options.name),
        address=_quoted(options.address),
        source=_quoted(options.source),
    )
    servers = (_REAL_SERVER.format(name=_quoted(name), address=_quoted(at)) for name, at in options.servers)
    return service + "".join(servers)


def _quoted(text: str) -> str:
    from tomlkit import item

    return item(text).as_string()


def _server(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and address):
        raise ArgumentTypeError(f"{text!r}: write NAME=ADDRESS, such as rras-1=10.0.0.11")
    return name, address


def _write(text: str, path: Path, *, replace: bool) -> None:
    """Write the whole file or none of it; without `replace`, never over an existing one."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        unfinished = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            unfinished.chmod(0o644)
            if replace:
                unfinished.replace(path)
            else:
                path.hardlink_to(unfinished)
        finally:
            unfinished.unlink(missing_ok=True)
