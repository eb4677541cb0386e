"""IKE fragmentation (RFC 7383): big IKE_AUTH messages must not become IP fragments, which firewalls drop."""

from __future__ import annotations

from collections.abc import Iterator

from engine.advise.facts import Fragmentation, ServerFacts, ServiceFacts
from engine.advise.snippets import fitting, powershell, swanctl
from engine.control.records import Advice, Snippet
from engine.sessions.invariants import FragmentedAuth
from engine.wording import count

TOPIC = "fragmentation"

_WINDOWS_SERVER = """\
# Windows Server 1803, 2019 or later; it takes a restart of the server.
$services = "HKLM:\\SYSTEM\\CurrentControlSet\\Services"
$setting = @{
    Path = "$services\\RemoteAccess\\Parameters\\Ikev2"
    Name = "EnableServerFragmentation"
    PropertyType = "DWORD"
    Value = 1
}
New-ItemProperty @setting -Force"""
_SWANCTL = """\
connections {
    NAME {
        fragmentation = yes
    }
}
# then: swanctl --load-conns"""
_WINDOWS_CLIENT = Snippet(
    language="powershell",
    where="on Windows clients: each connection must have 0",
    text="""\
$books = "$env:APPDATA", "$env:ProgramData" | ForEach-Object {
    "$_\\Microsoft\\Network\\Connections\\Pbk\\rasphone.pbk" }
Select-String -Path $books -Pattern Disable_IKEv2_Fragmentation""",
)


def fragmentation(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """Whether a real server and its clients cut their IKE messages up."""
    latest = service.fragmented
    seen = latest if latest is not None and latest.server == server.name else None
    if server.fragmentation is Fragmentation.SERVER_LACKS:
        yield _at_server(service, server, seen)
    elif seen is not None and not seen.client_offers:
        yield _at_clients(service, server, seen)
    elif server.fragmentation is Fragmentation.BOTH:
        yield Advice(
            topic=TOPIC,
            severity="well",
            service=service.name,
            server=server.name,
            what=f"IKE fragmentation is on at {server.name}.",
            why="It agrees to it in IKE_SA_INIT when a client offers it.",
        )


def _at_server(service: ServiceFacts, server: ServerFacts, seen: FragmentedAuth | None) -> Advice:
    consequence = f" {_told(service, seen)}" if seen else ""
    return Advice(
        topic=TOPIC,
        severity="do" if seen else "consider",
        service=service.name,
        server=server.name,
        what=f"Switch IKE fragmentation on at {server.name}.",
        why=f"Clients offer it in IKE_SA_INIT, and {server.name} does not agree to it.{consequence}",
        check=f"Once a client has connected, `ikeconsole advise {service.name}/{server.name}` says that it is on.",
        snippets=fitting(
            server.product,
            lambda: powershell(server.name, _WINDOWS_SERVER),
            lambda: swanctl(f"in swanctl.conf on {server.name}", _SWANCTL),
        ),
    )


def _at_clients(service: ServiceFacts, server: ServerFacts, seen: FragmentedAuth) -> Advice:
    return Advice(
        topic=TOPIC,
        severity="consider",
        service=service.name,
        server=server.name,
        what="Switch IKE fragmentation on at the clients that do not offer it.",
        why=f"{_told(service, seen)} The client of the latest, {seen.host}, does not offer it, and "
        f"{server.name} may cut messages up only for clients that do.",
        check="auth-fragmented in `ikeconsole status --json` stays as it is.",
        snippets=[swanctl("in swanctl.conf on strongSwan clients", _SWANCTL), _WINDOWS_CLIENT],
    )


def _told(service: ServiceFacts, seen: FragmentedAuth) -> str:
    return (
        f"{count(service.violations[seen.kind], 'IKE_AUTH message')} of {service.name} became IP fragments, the latest "
        f"of {seen.size_bytes} bytes: a firewall that drops fragments keeps such clients out (error 809)."
    )
