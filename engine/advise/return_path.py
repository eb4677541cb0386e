"""Transparent services: the answers of real servers must come back through this machine."""

from __future__ import annotations

from collections.abc import Iterator

from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.routes import Route
from engine.advise.snippets import fitting, powershell, shell
from engine.config.schema import HealthKind, Source
from engine.control.records import Advice, Snippet
from engine.wording import count, grouped

TOPIC = "return-path"


def return_path(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """The default gateway of a real server; nothing of one that is down, whose answers nobody can expect."""
    if service.config.source is not Source.TRANSPARENT or server.health == "down":
        return
    name = server.name
    if server.packets_out and not server.unanswered:
        yield Advice(
            topic=TOPIC,
            severity="well",
            service=service.name,
            server=name,
            what=f"The answers of {name} come back through this balancer.",
            why=f"{count(server.packets_out, 'packet')} came back, {grouped(server.packets_in)} went there.",
        )
        return
    if server.unanswered:
        asked = f"{count(server.unanswered, 'client')} asked {name} again and again and got no answer"
        probed = service.config.health.type is HealthKind.IKE and server.health == "up"
        why = f"{asked}{', while probes are answered: its answers to clients go another way' if probed else ''}."
    elif server.packets_in:
        why = f"{count(server.packets_in, 'packet')} of clients went to {name}, and none came back yet."
    else:
        why = f"No client was sent to {name} yet, so nothing shows that answers come back."
    yield Advice(
        topic=TOPIC,
        severity="do" if server.unanswered else "consider",
        service=service.name,
        server=name,
        what=_what(server),
        why=why,
        check=_check(server),
        snippets=_snippets(service, server),
    )


def _what(server: ServerFacts) -> str:
    match server.route:
        case None:
            return f"Make this balancer the default gateway of {server.name}."
        case Route(source=source, gateway=""):
            return f"Make this balancer, {source}, the default gateway of {server.name}."
        case Route(source=source, gateway=gateway):
            return f"Have the router {gateway} send here, to {source}, what {server.name} answers to clients."


def _snippets(service: ServiceFacts, server: ServerFacts) -> list[Snippet]:
    match server.route:
        case None:
            return []
        case Route(source=source, gateway=""):
            return fitting(
                server.product,
                lambda: powershell(server.name, _windows_route(source)),
                lambda: shell(server.name, _linux_route(source)),
            )
        case Route(source=source, gateway=gateway):
            return [shell(f"the router {gateway}, if it is Linux", _policy_route(service, server, source))]


def _windows_route(gateway: str) -> str:
    everything = "::/0" if ":" in gateway else "0.0.0.0/0"
    return f"""\
# What there is now. Take another default route away afterwards:
# Remove-NetRoute -DestinationPrefix {everything} -NextHop ...
Get-NetRoute -DestinationPrefix {everything}
$way = Find-NetRoute -RemoteIPAddress {gateway}
$route = @{{
    DestinationPrefix = "{everything}"
    NextHop = "{gateway}"
    InterfaceIndex = $way[0].InterfaceIndex
    RouteMetric = 1
}}
New-NetRoute @route"""


def _linux_route(gateway: str) -> str:
    return f"""\
# Until the next boot; write it into the network configuration, too.
ip {_family(gateway)}route replace default via {gateway}"""


def _policy_route(service: ServiceFacts, server: ServerFacts, balancer: str) -> str:
    ip = f"ip {_family(balancer)}"
    ports = (server.config.ike_port or service.config.ike_port, server.config.nat_t_port or service.config.nat_t_port)
    return f"""\
# Until the next boot; write it into the network configuration, too.
# This balancer must be on a network of the router's own.
{ip}route replace default via {balancer} table 500
server={server.config.address}
for port in {ports[0]} {ports[1]}; do
    {ip}rule add from $server ipproto udp sport $port lookup 500
done"""


def _family(address: str) -> str:
    return "-6 " if ":" in address else ""


def _check(server: ServerFacts) -> str:
    client = "2001:db8::1" if server.config.address.version == 6 else "198.51.100.1"
    by_windows, by_linux = f"Find-NetRoute -RemoteIPAddress {client}", f"ip route get {client}"
    match server.product:
        case Product.WINDOWS:
            look = f"`{by_windows}` there names this balancer as NextHop"
        case Product.STRONGSWAN:
            look = f"`{by_linux}` there says via this balancer"
        case _:
            look = f"the way to a client's address, such as {client}, leads there over this balancer"
    if server.route is not None and server.route.gateway:
        look = "`ip rule` on the router lists a rule for each port"
    return f"{look[0].upper()}{look[1:]}; here, OUT of {server.name} rises in `ikeconsole servers`."
