"""Plays the captures of real strongSwan peers through the session table, as if the balancer stood between them."""

from __future__ import annotations

from engine.sessions.flow import Port
from engine.sessions.session import Phase, Session
from tests.engine.sessions.session_world import IKE, KEEPALIVE, NAT_T, World, audit
from tests.engine.wire.wire_pcap import CAPTURES, Datagram, datagrams

SERVER_HOSTS = ("198.18.0.10", "10.77.0.11")

History = dict[Session, list[Phase]]


def play(world: World, capture: str) -> History:
    """Which phases each session went through; each datagram must pass, but for keepalives of unknown flows."""
    history: History = {}
    for datagram in datagrams(CAPTURES / f"{capture}.pcap"):
        world.later(max(0.0, datagram.fragments[-1][0] - world.now_s))
        _pass_on(world, datagram)
        audit(world)
        for session in world.sessions():
            phases = history.setdefault(session, [])
            if phases[-1:] != [session.phase]:
                phases.append(session.phase)
    return history


def _pass_on(world: World, datagram: Datagram) -> None:
    inward = datagram.destination[0] in SERVER_HOSTS
    client = datagram.source if inward else datagram.destination
    port = _port(datagram.destination if inward else datagram.source)
    if inward:
        known = world.flow(client, port) is not None
        passed = world.client_sends(client, port, datagram.payload) is not None
        assert passed is (known or datagram.payload != KEEPALIVE)
        return
    if world.flow(client, port) is None:
        world.server_speaks_first(client, port)
    assert world.server_sends(client, port, datagram.payload)


def _port(address: tuple[str, int]) -> Port:
    return {500: IKE, 4500: NAT_T}[address[1]]
