"""A server that goes down keeps its sessions until another one can take its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from engine.config.schema import AdminState
from engine.health.result import ProbeResult
from engine.last_resort import LastResort
from engine.policy.eligibility import Ineligible
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import ineligible
from tests.engine.sessions.session_world import NAT_T, World, esp

pytestmark = pytest.mark.trio


class Faulty(World):
    """Two servers with a tunnel each."""

    def __init__(self) -> None:
        super().__init__()
        self.given_up: list[str] = []
        for number, host in enumerate(("198.51.100.1", "198.51.100.2"), start=1):
            self.connect(host, number)
        for name in "ab":
            self.probe(name, ok=True)

    async def abandoned(self, service: Service, server: RealServer) -> None:
        self.given_up.append(server.name)

    def probe_once(self, name: str, *, ok: bool) -> None:
        health = self.server(name).health
        if not ok:
            self.last_resort.probe_failed(self.service, self.server(name))
        if (change := health.observe(ProbeResult(ok=ok, reason="test", rtt_s=None), self.now_s)) and not ok:
            assert change.new == "down"
            self.last_resort.went_down(self.service, self.server(name))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            self.last_resort = LastResort(nursery, self.events, lambda server: None, self.abandoned)
            yield

    async def look(self) -> list[str]:
        self.last_resort.look()
        await wait_all_tasks_blocked()
        return self.given_up


async def test_while_others_answer_a_dead_server_gives_its_sessions_up_at_once() -> None:
    world = Faulty()
    async with world.watched():
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.probe_once("b", ok=True)
        assert await world.look() == ["a"]
        assert not world.server("a").keeps_sessions


async def test_a_fault_that_hits_all_servers_ends_no_session() -> None:
    """Whichever is found down first: the others' probes fail as well by then."""
    world = Faulty()
    async with world.watched():
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.probe_once("b", ok=False)
        assert await world.look() == []
        assert [world.server(name).keeps_sessions for name in "ab"] == [True, True]
        assert world.client_sends(("198.51.100.1", 4500), NAT_T, esp(1)) == world.service.by_spi[1].server.name
        for name in "ab":
            for _ in range(2):
                world.probe_once(name, ok=True)
        assert await world.look() == []
        assert not any(server.last_resort for server in world.service.servers.values())
    assert len([event for event in world.events.after(0, 100) if event.kind == "sessions-kept"]) == 2


async def test_sessions_are_given_up_as_soon_as_another_server_is_back() -> None:
    world = Faulty()
    async with world.watched():
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.probe_once("b", ok=False)
        for _ in range(2):
            world.probe_once("b", ok=True)
        assert await world.look() == ["a"]
        assert [world.server(name).keeps_sessions for name in "ab"] == [False, True]


async def test_a_server_that_is_about_to_go_down_takes_nobody_over_until_it_answers() -> None:
    world = Faulty()
    async with world.watched():
        for _ in range(2):
            world.probe_once("a", ok=False)
        world.probe_once("b", ok=False)
        world.probe_once("a", ok=False)
        assert await world.look() == []
        world.probe_once("b", ok=True)
        assert await world.look() == ["a"]


async def test_servers_that_come_back_one_shortly_after_the_other_lose_nobody() -> None:
    """They are never probed at one instant: whoever has answered once is about to be up."""
    world = Faulty()
    async with world.watched():
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.probe_once("b", ok=False)
        world.probe_once("a", ok=True)
        world.probe_once("b", ok=True)
        world.probe_once("b", ok=True)
        assert await world.look() == []
        assert world.server("a").keeps_sessions
        world.probe_once("a", ok=False)
        assert await world.look() == ["a"]


async def test_to_disable_a_server_ends_its_sessions_whoever_else_there_is() -> None:
    world = Faulty()
    async with world.watched():
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.probe_once("b", ok=False)
        world.configure("a", state=AdminState.DISABLED)
        assert not world.server("a").keeps_sessions
        assert await world.look() == []
        assert not world.server("a").last_resort


async def test_a_server_from_which_data_comes_keeps_its_clients_until_none_does() -> None:
    """Only its probes fail, as behind a firewall that lets no IKE through; what it sent before counts for nothing."""
    world = Faulty()
    async with world.watched():
        world.server("a").packets_out += 100
        for _ in range(3):
            world.probe_once("a", ok=False)
            world.server("a").packets_out += 1
        assert await world.look() == []
        assert world.server("a").keeps_sessions
        assert ineligible(world.service, world.server("a")) is Ineligible.DOWN
        world.probe_once("a", ok=False)
        assert await world.look() == []
        world.probe_once("a", ok=False)
        assert await world.look() == ["a"]
    (kept,) = [event for event in world.events.after(0, 100) if event.kind == "sessions-kept"]
    assert kept.text == "vpn/a keeps its 1 session: only its probes fail, data still comes from it"


async def test_data_that_came_before_the_first_of_the_failed_probes_keeps_nobody() -> None:
    world = Faulty()
    async with world.watched():
        for ok in (False, True, False, False, False):
            if ok:
                world.server("a").packets_out += 100
            world.probe_once("a", ok=ok)
        assert await world.look() == ["a"]
        assert await world.look() == ["a"]


async def test_nothing_is_remembered_of_servers_that_answer_or_are_gone() -> None:
    world = Faulty()
    async with world.watched():
        for name in "ab":
            world.probe_once(name, ok=False)
        world.probe_once("a", ok=True)
        del world.service.servers["b"]
        await world.look()
        assert not world.last_resort._failing
