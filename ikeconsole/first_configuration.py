"""The first configuration of a machine: one service, as a text that explains itself."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

_HEAD = """\
# ikeconsole: where VPN clients go. Every key, with its default and its choices: `man ikeconsole.toml`
# Check a change with: ikeconsole check -c {file}
# Apply it with: ikeconsole reload

[engine]
# Members of this group may watch and change the running engine, too; else only root and the engine's own user may.
# control_group = "ikeconsole"

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
# New clients go to the server with the fewest sessions for its weight.
scheduler = "weighted-least-connections"
# A client comes back to the server it had for so long after its last packet.
persistence = "source-address"
persistence_timeout = "30m"

[service.health]
# Asks each real server's IKE service, not only whether the machine answers pings.
type = "ike"
interval = "5s"
timeout = "2s"
# So many failures in a row until a server is down, so many successes until it is up again.
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


@dataclass(frozen=True, slots=True)
class FirstService:
    """What must be known of a service; everything else has a default."""

    name: str
    address: str
    servers: tuple[tuple[str, str], ...]
    """Name and address of each real server."""
    source: str
    """transparent or snat."""


def first_configuration(service: FirstService, path: Path) -> str:
    """The text of a file, to be kept at `path`, with this one service."""
    head = _HEAD.format(
        file=path, name=_quoted(service.name), address=_quoted(service.address), source=_quoted(service.source)
    )
    servers = (_REAL_SERVER.format(name=_quoted(name), address=_quoted(at)) for name, at in service.servers)
    return head + "".join(servers)


def write(text: str, path: Path, *, replace: bool) -> None:
    """Write the whole file or none of it; without `replace`, never over an existing one. Raises OSError."""
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


def _quoted(text: str) -> str:
    from tomlkit import item

    return item(text).as_string()
