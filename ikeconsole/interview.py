"""The questions at a terminal that a first configuration comes from; what the command line said is not asked."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from ikeconsole.exits import Exit, Failure
from ikeconsole.first_configuration import FirstService
from ikeconsole.render.columns import printable

_BEGINNING = """\
A few questions for a first configuration. Enter alone takes what stands in
[brackets]. Nothing is written before the last answer; Ctrl-C leaves.
"""
_ADDRESS = """
The address that VPN clients dial: the one of this machine to which your VPN's
name resolves.
"""
_SERVERS = """
The real servers: the VPN servers behind this machine, such as Windows RRAS or
strongSwan. An empty line after the last.
"""
_SOURCE = """
What the real servers see as source of a client's packets.
  transparent  The client's own address and port. Right for Windows RRAS, which
               limits the tunnels of one address. The real servers' default
               gateway must then be this machine.
  snat         An address of this machine. Works in any network as it is, with a
               few dozen clients a server; for more, raise the servers' limits:
               `ikeconsole advise` then says how.
"""
_NAME = """
A name for the service, as it will stand in the console and in commands.
"""
_SOURCES = ("transparent", "snat")
_FAR_AWAY = ("192.0.2.1", 9)


class Unfit(Exception):
    """An answer that cannot be; the message says why."""


def interview(
    name: str | None, address: str | None, servers: list[tuple[str, str]] | None, source: str | None
) -> FirstService:
    """Ask for what is None; raises `Failure` when the terminal ends before the answers do."""
    _say(_BEGINNING)
    if address is None:
        _say(_ADDRESS)
        address = _ask("Address", _address, own_address())
        if not is_own(address):
            _say(f"This machine has no address {address} yet: `ip address add {address} dev INTERFACE`.\n")
    if not servers:
        _say(_SERVERS)
        servers = _ask_servers(address)
    if source is None:
        _say(_SOURCE)
        source = _ask("Source", _source, _SOURCES[0])
    if name is None:
        _say(_NAME)
        name = _ask("Name", _name, "vpn")
    return FirstService(name, address, tuple(servers), source)


def own_address() -> str:
    """The address of this machine from which it reaches the rest of the world; empty for none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(_FAR_AWAY)  # sends nothing
        except OSError:
            return ""
        own: str = sock.getsockname()[0]
        return own


def is_own(address: str) -> bool:
    """Whether this machine has an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
        return True


def _ask_servers(service: str) -> list[tuple[str, str]]:
    servers: dict[str, str] = {}

    def address(text: str) -> str:
        if not text and servers:
            return ""
        return _server_address(text, service, servers)

    def name(text: str) -> str:
        if _name(text) in servers:
            raise Unfit(f"{text} is the name of {servers[text]} already")
        return text

    while at := _ask(f"Address of real server {len(servers) + 1}", address):
        servers[_ask("  its name", name, f"vpn-{len(servers) + 1}")] = at
    return list(servers.items())


def _ask(question: str, fit: Callable[[str], str], default: str = "") -> str:
    """The first fit answer to a question."""
    while True:
        _say(f"{question} [{default}]: " if default else f"{question}: ")
        line = sys.stdin.readline()
        if not line:
            raise Failure(Exit.FAILED, "not finished: nothing was written")
        try:
            return fit(line.strip() or default)
        except Unfit as reason:
            _say(f"{printable(str(reason))}\n")


def _address(text: str) -> str:
    return str(_parsed(text))


def _server_address(text: str, service: str, servers: dict[str, str]) -> str:
    parsed, of_service = _parsed(text), ip_address(service)
    if parsed.version != of_service.version:
        raise Unfit(f"{parsed} is IPv{parsed.version}, but the service is IPv{of_service.version}: both must be alike")
    if parsed == of_service:
        raise Unfit(f"{parsed} is the service's own address: write that of a VPN server")
    for name, other in servers.items():
        if str(parsed) == other:
            raise Unfit(f"{parsed} is {name} already")
    return str(parsed)


def _parsed(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        what = f"{text} is no address: " if text else ""
        raise Unfit(f"{what}write one such as 203.0.113.10 or 2001:db8::10") from None


def _source(text: str) -> str:
    fits = [source for source in _SOURCES if source.startswith(text.lower())]
    if len(fits) != 1:
        raise Unfit("write transparent or snat")
    return fits[0]


def _name(text: str) -> str:
    from engine.config.decode import USABLE_NAME

    if not USABLE_NAME.fullmatch(text):
        raise Unfit("a name is 1 to 64 letters, digits, dots, hyphens or underscores")
    return text


def _say(text: str) -> None:
    # Standard output is for answers alone.
    print(text, end="", file=sys.stderr, flush=True)
