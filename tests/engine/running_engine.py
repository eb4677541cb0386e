"""The real engine in process, on loopback, among simulated servers and clients."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tomlkit
import trio
from vpn_peers import DEADLINE_S, IKE_PORT, NAT_T_PORT, Client, Server, address, client

from engine.config.load import load
from engine.control.api import Refused
from engine.control.records import Event, SessionDetail, SessionQuery, SessionRow
from engine.control.status import ServerStatus, ServiceStatus
from engine.operations import Operations
from engine.runtime import serve_forever
from engine.survival.saving import JOURNAL

Tables = dict[str, Any]

VPN = address(1)
PARTNERS = address(2)
HOSTS = {"a": address(11), "b": address(12), "c": address(13)}
CLIENT = address(101)
OTHER_CLIENT = address(102)
THIRD_CLIENT = address(103)
FAST_PROBES = {"type": "ike", "interval": "300ms", "timeout": "300ms", "fall": 2, "rise": 1}
"""Notice a closed port soon, but do not take a machine that is busy for a moment for a dead server."""

T = TypeVar("T")


def service(name: str = "vpn", *, at: str = VPN, servers: str = "ab", **settings: Any) -> Tables:
    """A [[service]] with one real server for each letter; clients go to them in turn."""
    return {
        "name": name,
        "address": at,
        "ike_port": IKE_PORT,
        "nat_t_port": NAT_T_PORT,
        "source": "snat",
        "scheduler": "round-robin",
        "health": {"type": "none"},
        "real_server": [real_server(letter) for letter in servers],
    } | settings


def real_server(name: str, **settings: Any) -> Tables:
    """A [[service.real_server]]."""
    return {"name": name, "address": HOSTS[name]} | settings


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Wait for a condition, and return what it found."""
    with trio.fail_after(deadline_s):
        while True:
            if found := condition():
                return found
            await trio.sleep(0.01)


@contextmanager
def refused(kind: str, part: str) -> Iterator[Refused]:
    """Expect a refusal of a kind, whose message has a part; what it yields has the details afterwards."""
    told = Refused(kind, part)
    with pytest.raises(Refused) as caught:
        yield told
    assert caught.value.kind == kind
    assert part in caught.value.message
    told.details[:] = caught.value.details


class RunningEngine:
    """An engine, and what tests ask of it."""

    def __init__(self, operations: Operations, path: Path) -> None:
        self.operations = operations
        self.path = path

    def service(self, name: str = "vpn") -> ServiceStatus:
        """What the engine says of a service."""
        return next(service for service in self.operations.status().services if service.name == name)

    def server(self, name: str, service: str = "vpn") -> ServerStatus:
        """What the engine says of a real server."""
        return next(server for server in self.service(service).servers if server.name == name)

    async def sessions(self, **query: Any) -> list[SessionRow]:
        """The sessions that meet a query."""
        return (await self.operations.sessions(SessionQuery(**query))).rows

    async def session(self, client: Client) -> SessionDetail:
        """The one session of a client."""
        (row,) = await self.sessions(client=client.host)
        return self.operations.session(row.id)

    async def established(self, client: Client) -> SessionDetail:
        """The one session of a client, which is established."""
        detail = await self.session(client)
        assert detail.row.phase == "established"
        return detail

    def events(self, kind: str) -> list[Event]:
        """What happened, of one kind."""
        return [event for event in self.operations.events(0, 0, 1000) if event.kind == kind]

    async def event(self, kind: str, number: int = 1) -> Event:
        """Wait for the first, second, ... event of a kind."""
        return (await until(lambda: self.events(kind)[number - 1 :]))[0]

    async def healthy(self, *names: str, service: str = "vpn") -> None:
        """Wait until real servers are up."""
        await until(lambda: all(self.server(name, service).health == "up" for name in names))

    async def reload(self, *services: Tables, **engine: Any) -> str:
        """Write another configuration and have it applied; returns what was done."""
        write_config(self.path, *services, **engine)
        return (await self.operations.reload("tester")).done

    def edit_on_disk(self, old: str, new: str) -> None:
        """Change the file as an editor would."""
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new, 1))


class World:
    """An engine with real servers that all run, and clients at need."""

    def __init__(
        self, engine: RunningEngine, servers: dict[str, Server], nursery: trio.Nursery, stack: ExitStack
    ) -> None:
        self.engine = engine
        self.servers = servers
        self._nursery = nursery
        self._stack = stack

    def client(self, host: str = CLIENT, *, at: str = VPN) -> Client:
        """A client of a service."""
        return self._stack.enter_context(client(host, at))

    async def connected(self, host: str = CLIENT, *, at: str = VPN) -> Client:
        """A client of a service with a tunnel."""
        made = self.client(host, at=at)
        await made.connect()
        return made

    async def start(self, server: Server) -> None:
        """Have a real server listen, for the first time or again."""
        await server.start(self._nursery)


def write_config(path: Path, *services: Tables, **engine: Any) -> None:
    """Write a configuration whose files all lie beside it."""
    own = {"control_socket": str(path.parent / "control.sock"), "state_dir": str(path.parent / "state")}
    path.write_text(tomlkit.dumps({"engine": own | engine, "service": list(services)}))


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[RunningEngine]:
    """The engine, running with the configuration in a file."""
    async with trio.open_nursery() as nursery:
        loaded = load(path)
        operations: Operations = await nursery.start(partial(serve_forever, loaded, signals=False))
        # Tests count files: the engine's first one is to be there.
        state_dir = Path(loaded.config.engine.state_dir)
        await until(lambda: not state_dir.is_dir() or (state_dir / JOURNAL).exists())
        yield RunningEngine(operations, path)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def world(directory: Path, *services: Tables, servers: str = "ab", **engine: Any) -> AsyncIterator[World]:
    """A running engine with a service, and simulated real servers for it."""
    path = directory / "config.toml"
    write_config(path, *(services or (service(),)), **engine)
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            simulated = {name: Server(HOSTS[name]) for name in servers}
            for server in simulated.values():
                await server.start(nursery)
            async with running(path) as engine_running:
                yield World(engine_running, simulated, nursery, stack)
            nursery.cancel_scope.cancel()
