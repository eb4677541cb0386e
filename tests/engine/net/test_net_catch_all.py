"""What servers of transparent services send to clients without an open socket: delivered where no doubt is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from engine.config.schema import PersistenceKind, Source
from engine.net.catch_all import CatchAll
from engine.sessions.flow import SocketAddress
from engine.sessions.session import Phase
from tests.engine.sessions.session_world import IKE, KEEPALIVE, NAT_T, World, audit, esp, informational, init

ALICE: SocketAddress = ("198.51.100.1", 4500)
SERVER_A: SocketAddress = ("10.0.0.11", 4500)
SERVER_B: SocketAddress = ("10.0.0.12", 4500)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="IP_TRANSPARENT needs root")


class Diverted:
    """A transparent service and its catch-all socket, which is handed datagrams as the kernel would."""

    def __init__(self) -> None:
        self.world = World(source=Source.TRANSPARENT)
        self.services = {"vpn": self.world.service}
        self.catch_all = CatchAll(socket.AF_INET, self.services, self.world.forwarder)

    def arrives(self, server: SocketAddress, client: SocketAddress, datagram: bytes) -> bool:
        """Whether the client gets what a server sent to it."""
        for listener in self.world.listeners.values():
            listener.answered.clear()
        self.world.forwarder.outbox.slot_view[: len(datagram)] = datagram
        self.catch_all._take(server, client, len(datagram), self.world.now_s)
        audit(self.world)
        answered = [found for listener in self.world.listeners.values() for found in listener.answered]
        assert answered in ([], [(client, datagram)])
        return bool(answered)


@pytest.fixture
def diverted() -> Iterator[Diverted]:
    opened = Diverted()
    yield opened
    opened.catch_all.socket.close()


def test_flow_whose_socket_was_closed_is_still_answered(diverted: Diverted) -> None:
    """Upstream sockets are a cache: without one, what the server sends still reaches the client, and counts."""
    session = diverted.world.connect("198.51.100.1", 1)
    for flow in session.flows:
        diverted.world.upstreams.close(flow)
    assert diverted.arrives(SERVER_A, ALICE, esp())
    assert diverted.arrives(SERVER_A, ALICE, informational(1, from_server=True))
    assert diverted.arrives(("10.0.0.11", 500), ("198.51.100.1", 500), informational(1, from_server=True)[4:])
    assert session.messages[-1].inward is False
    assert session.server.packets_out == 2 + 3


def test_server_that_speaks_first_begins_its_clients_session(diverted: Diverted) -> None:
    """After a restart a server's liveness check finds its client, and its tunnel is known again."""
    assert diverted.arrives(SERVER_B, ALICE, informational(1, from_server=True))
    session = diverted.world.only_session()
    assert (session.server.name, session.why) == ("b", "server spoke first")
    assert session.phase is Phase.ESTABLISHED
    assert diverted.world.client_sends(ALICE, NAT_T, informational(1, response=True)) == "b"
    assert diverted.world.sessions() == [session]


def test_server_that_was_hung_and_speaks_first_has_its_client_back(diverted: Diverted) -> None:
    """Though what the client sent meanwhile went to another server, which has no answer for it."""
    world = diverted.world
    session = world.connect(ALICE[0], 1)
    assert diverted.arrives(SERVER_A, ALICE, esp(2))
    assert world.client_sends(ALICE, NAT_T, esp(1)) == "a"
    world.fail("a")
    assert world.client_sends(ALICE, NAT_T, esp(1)) == "b"
    assert not diverted.arrives(SERVER_A, ALICE, esp(2)), "it is still down"
    world.probe("a", ok=True)
    assert diverted.arrives(SERVER_A, ALICE, esp(2))
    assert world.sessions() == [session]
    assert session.phase is Phase.ESTABLISHED
    assert world.client_sends(ALICE, NAT_T, esp(1)) == "a"


@pytest.mark.parametrize("kind", list(PersistenceKind))
@pytest.mark.parametrize("word", [esp(2), informational(1, from_server=True)], ids=["esp", "ike"])
def test_server_that_was_hung_does_not_take_a_client_from_its_new_server(
    diverted: Diverted, word: bytes, kind: PersistenceKind
) -> None:
    """However quiet the new tunnel is: its client is there now, and has forgotten the old one."""
    world = diverted.world
    world.service.config = replace(world.service.config, persistence=kind)
    world.connect(ALICE[0], 1)
    assert world.client_sends(ALICE, NAT_T, esp(1)) == "a"
    assert diverted.arrives(SERVER_A, ALICE, esp(2))
    world.fail("a")
    world.later(20)
    new = world.connect(ALICE[0], 2)
    world.probe("a", ok=True)
    assert world.client_sends(ALICE, NAT_T, esp(3)) == "b" == new.server.name
    assert world.server_sends(ALICE, NAT_T, esp(4))
    assert world.client_sends(ALICE, NAT_T, esp(3)) == "b"
    for quiet_s in (100, 600):
        world.later(quiet_s)
        world.service.drops.clear()
        assert not diverted.arrives(SERVER_A, ALICE, word)
        assert world.service.drops == {"from-server-left-behind": 1}
    assert new.phase is Phase.IDLE
    assert world.client_sends(ALICE, NAT_T, esp(3)) == "b"
    assert world.service.by_spi[2] is new


def test_keepalive_of_a_server_begins_nothing(diverted: Diverted) -> None:
    """Nor does what cannot be read, which is counted."""
    assert not diverted.arrives(SERVER_A, ALICE, KEEPALIVE)
    assert not diverted.arrives(SERVER_A, ALICE, b"\x01\x02")
    assert diverted.world.sessions() == []
    assert diverted.world.service.drops == {"from-server-runt": 1}


def test_client_that_lives_elsewhere_is_not_called_back(diverted: Diverted) -> None:
    """A server that its client left may not claim it: counted, dropped, and the client's session untouched."""
    session = diverted.world.connect("198.51.100.1", 1)
    assert session.server.name == "a"
    assert not diverted.arrives(SERVER_B, ("198.51.100.1", 9999), esp())
    assert diverted.world.sessions() == [session]
    assert diverted.world.service.drops == {"from-server-left-behind": 1}


def test_pinned_client_is_called_back_by_the_server_it_still_is_on(diverted: Diverted) -> None:
    """A pin moves nobody, so it takes the word from no server that has a session; from all others it does."""
    session = diverted.world.connect("198.51.100.1", 1)
    persistence = diverted.world.service.persistence
    persistence.pin("198.51.100.1/32", diverted.world.server("b"), diverted.world.now_s)
    flow = diverted.world.flow(ALICE, NAT_T)
    assert flow is not None
    diverted.world.table.drop_flow(flow)
    assert diverted.arrives(SERVER_A, ALICE, informational(1, from_server=True))
    for each in diverted.world.sessions():
        diverted.world.table.close(each)
    assert session.server.name == "a"
    assert not diverted.arrives(SERVER_A, ALICE, informational(1, from_server=True))
    assert diverted.arrives(SERVER_B, ALICE, informational(1, from_server=True))


@pytest.mark.parametrize("gone", ["fail", "disable"])
def test_server_out_of_service_is_not_heard(diverted: Diverted, gone: str) -> None:
    """What a disabled or failed server still sends begins no session."""
    getattr(diverted.world, gone)("a")
    assert not diverted.arrives(SERVER_A, ALICE, esp())
    assert diverted.world.service.drops == {"from-server-left-behind": 1}


def test_full_table_is_counted(diverted: Diverted) -> None:
    """A server's first word to a client that there is no room for is dropped."""
    diverted.world.table.max_sessions = 1
    diverted.world.connect("198.51.100.9", 1)
    assert not diverted.arrives(SERVER_B, ALICE, esp())
    assert diverted.world.service.drops == {"table-full": 1}


def test_stranger_is_ignored(diverted: Diverted) -> None:
    """What comes from no real server's address and port is nobody's."""
    assert not diverted.arrives(("10.0.0.99", 4500), ALICE, esp())
    assert not diverted.arrives(("10.0.0.11", 53), ALICE, esp())
    assert diverted.world.sessions() == []
    assert not diverted.world.service.drops


def test_service_that_is_being_taken_away_answers_nothing(diverted: Diverted) -> None:
    """While its sessions end, nothing more is passed on and nothing breaks."""
    diverted.world.connect("198.51.100.1", 1)
    diverted.world.forwarder.listeners.clear()
    assert not diverted.arrives(SERVER_A, ALICE, esp())
    assert not diverted.arrives(SERVER_B, ("198.51.100.77", 4500), init(5))
    diverted.services.clear()
    assert not diverted.arrives(SERVER_A, ALICE, esp())


def test_socket_of_each_family_has_a_port() -> None:
    """The tproxy rule names the port of a socket that listens on loopback only."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        world = World(source=Source.TRANSPARENT)
        catch_all = CatchAll(family, {"vpn": world.service}, world.forwarder)
        assert catch_all.socket.getsockname()[:2] == (host, catch_all.port)
        assert world.flow(ALICE, IKE) is None
        catch_all.drain(0.0)
        catch_all.socket.close()
