"""A simulated client gets its tunnel, keeps it, notices when it is gone, and leaves properly.

It talks to a simulated real server over loopback on trio's test clock: the kernel delivers at once, time jumps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock

from engine.net.sockets import BindError, listener
from ikeconsole.demo.client import Client, Entrance, Habits
from ikeconsole.demo.responder import Responder, VpnServer

SERVER = "127.0.0.1"
HOME, OFFICE = "127.0.0.2", "127.0.0.3"


class Place:
    """A running real server and the means to let clients at it."""

    def __init__(self, responder: Responder, entrance: Entrance) -> None:
        self.responder = responder
        self._entrance = entrance

    def client(self, habits: Habits | None = None) -> Client:
        return Client(self._entrance, [HOME, OFFICE], habits or Habits(), Random(2))


def free_port() -> int:
    with listener(SERVER, 0) as sock:
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def real_server(*, demands_cookies: bool = False) -> AsyncIterator[Place]:
    entrance = Entrance(SERVER, free_port(), free_port())
    server = VpnServer(Random(1), demands_cookies=demands_cookies)
    responder = Responder(SERVER, entrance.ike_port, entrance.nat_t_port, server)
    async with trio.open_nursery() as nursery:
        await nursery.start(responder.run)
        yield Place(responder, entrance)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("demands_cookies", [False, True])
async def test_it_connects_talks_and_takes_its_leave(autojump_clock: MockClock, demands_cookies: bool) -> None:
    async with real_server(demands_cookies=demands_cookies) as place:
        client = place.client()
        await client.stay(20)
        assert client.connections == 1
        assert client.received > 100
        await trio.testing.wait_all_tasks_blocked()
        assert place.responder.server.ike_sas == 0


@pytest.mark.trio
async def test_roaming_keeps_the_tunnel(autojump_clock: MockClock) -> None:
    async with real_server() as place:
        client = place.client(Habits(roam_s=5))
        await client.stay(28)
        assert client.connections == 1
        assert client.received > 200


@pytest.mark.trio
async def test_a_restarted_server_is_noticed_and_a_new_tunnel_set_up(autojump_clock: MockClock) -> None:
    async with real_server() as place, trio.open_nursery() as nursery:
        client = place.client(Habits(liveness_check_s=5))
        nursery.start_soon(client.stay, 30)
        await trio.sleep(2)
        place.responder.restart()
        await trio.sleep(6)
        assert client.connections == 2
        assert place.responder.server.ike_sas == 1


@pytest.mark.trio
async def test_a_silent_server_is_given_up_and_tried_again_until_it_is_back(autojump_clock: MockClock) -> None:
    async with real_server() as place, trio.open_nursery() as nursery:
        client = place.client(Habits(liveness_check_s=5))
        nursery.start_soon(client.stay, 60)
        await trio.sleep(2)
        place.responder.fail()
        await trio.sleep(20)
        received = client.received
        await trio.sleep(10)
        assert (client.connections, client.received) == (1, received)
        place.responder.restart()
        await trio.sleep(10)
        assert client.connections == 2
        assert client.received > received


@pytest.mark.trio
async def test_a_client_that_never_gets_an_answer_still_leaves_in_time(autojump_clock: MockClock) -> None:
    async with real_server() as place:
        place.responder.fail()
        client = place.client()
        began_s = trio.current_time()
        await client.stay(25)
        assert trio.current_time() - began_s == pytest.approx(25)
        assert client.connections == 0


@pytest.mark.trio
async def test_a_taken_port_is_named() -> None:
    with listener(SERVER, 0) as taken:
        port = taken.getsockname()[1]
        responder = Responder(SERVER, free_port(), port, VpnServer(Random(1)))
        with pytest.raises(BindError, match=f"port {port} is taken"):
            await responder.run()
