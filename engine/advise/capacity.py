"""How many sessions a Windows server can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import powershell, toml
from engine.control.records import Advice
from engine.wording import count

MANY: Final = 100
"""Sessions of a real server from which on its ports are worth a look."""


def capacity(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """A limit here that is the server's own: beyond it a client is refused there, and could be served elsewhere."""
    if server.product is not Product.WINDOWS or server.config.max_sessions or server.sessions < MANY:
        return
    yield Advice(
        topic="max-sessions",
        severity="consider",
        service=service.name,
        server=server.name,
        what=f"Set max_sessions of {server.name} to the number of its IKEv2 ports.",
        why=f"It has {count(server.sessions, 'session')} and no limit here. RRAS takes one client for each IKEv2 port: "
        "whoever comes when all are taken is refused, though another server might have room.",
        check="`Get-VpnServerConfiguration` there and `ikeconsole config show` here name the same number.",
        snippets=[
            powershell(server.name, _PORTS),
            toml(service.name, f'[[service.real_server]]\nname = "{server.name}"\nmax_sessions = N  # Ikev2Ports'),
        ],
    )


_PORTS = """\
(Get-VpnServerConfiguration).Ikev2Ports
# more of them: Set-VpnServerConfiguration -Ikev2Ports 1000"""
