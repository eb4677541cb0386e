"""An engine that only has records to show: what control clients are tested against."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import trio

from engine.control.api import Refused
from engine.control.records import (
    Change,
    ConfigState,
    EngineStatus,
    Event,
    Explanation,
    FlowRow,
    MessageRow,
    PersistenceRow,
    Revision,
    ServerStatus,
    ServiceStatus,
    SessionDetail,
    SessionPage,
    SessionQuery,
    SessionRow,
    SourceUse,
    Traffic,
)

NOW = 1_767_614_671.0
"""2026-01-05 12:04:31 UTC."""

RRAS_1 = ServerStatus(
    service="always-on-vpn",
    name="rras-1",
    address="10.0.0.11",
    weight=100,
    admin_state="enabled",
    health="up",
    health_reason="answers IKE",
    health_since_at=NOW - 8054,
    busy=False,
    rtt_s=0.0032,
    last_probe_s=1.2,
    agent_load=None,
    sessions=603,
    half_open=1,
    max_sessions=1500,
    share=0.5008,
    weighted_share=0.5,
    new_sessions=2210,
    traffic=Traffic(packets_in=300_000, bytes_in=210_000_000, packets_out=500_000, bytes_out=560_000_000),
    source_use=[],
)
RRAS_2 = msgspec.structs.replace(
    RRAS_1,
    name="rras-2",
    address="10.0.0.12",
    admin_state="drain",
    rtt_s=0.0174,
    sessions=601,
    half_open=2,
    max_sessions=0,
    share=0.4992,
    new_sessions=1980,
    traffic=Traffic(packets_in=280_000, bytes_in=202_000_000, packets_out=480_000, bytes_out=540_000_000),
)
RRAS_3 = msgspec.structs.replace(
    RRAS_1,
    name="rras-3",
    address="10.0.0.13",
    health="down",
    health_reason="no answer to IKE probe, ping answers",
    health_since_at=NOW - 134,
    rtt_s=None,
    last_probe_s=3.0,
    sessions=0,
    half_open=0,
    max_sessions=0,
    share=0.0,
    weighted_share=0.0,
    new_sessions=0,
    traffic=Traffic(),
)
SSWAN_1 = msgspec.structs.replace(
    RRAS_1,
    service="partners",
    name="sswan-1",
    address="2001:db8:10::21",
    sessions=88,
    half_open=0,
    max_sessions=0,
    share=1.0,
    weighted_share=1.0,
    new_sessions=301,
    traffic=Traffic(packets_in=12_000, bytes_in=12_000_000, packets_out=25_000, bytes_out=30_000_000),
    source_use=[SourceUse(address="10.0.9.1", sessions=80), SourceUse(address="10.0.9.2", sessions=8)],
)
ALWAYS_ON = ServiceStatus(
    name="always-on-vpn",
    address="203.0.113.10",
    ike_port=500,
    nat_t_port=4500,
    source="transparent",
    scheduler="weighted-least-connections",
    persistence="source-address",
    persistence_timeout_s=1800.0,
    port_following=True,
    state="degraded",
    sessions=1204,
    half_open=3,
    persistence_records=1311,
    new_sessions=4190,
    traffic=Traffic(packets_in=580_000, bytes_in=412_000_000, packets_out=980_000, bytes_out=1_100_000_000),
    drops={"no-server": 12, "malformed": 3},
    servers=[RRAS_1, RRAS_2, RRAS_3],
)
PARTNERS = ServiceStatus(
    name="partners",
    address="2001:db8::500",
    ike_port=500,
    nat_t_port=4500,
    source="snat",
    scheduler="round-robin",
    persistence="ike-spi",
    persistence_timeout_s=1800.0,
    port_following=True,
    state="up",
    sessions=88,
    half_open=0,
    persistence_records=0,
    new_sessions=301,
    traffic=Traffic(packets_in=12_000, bytes_in=12_000_000, packets_out=25_000, bytes_out=30_000_000),
    drops={},
    servers=[SSWAN_1],
)
STATUS = EngineStatus(
    host="vpn-edge-1",
    version="0.1.0",
    pid=4711,
    started_at=NOW - 784_000,
    now_at=NOW,
    config_path="/etc/ikeconsole/config.toml",
    fast_path="off",
    fast_path_reason="libbpf.so.1 was not found",
    sessions=1292,
    half_open=3,
    flows=2580,
    max_sessions=200_000,
    open_sockets=1310,
    max_open_sockets=60_000,
    evicted=0,
    sockets_taken_back=0,
    memory_bytes=71_000_000,
    services=[ALWAYS_ON, PARTNERS],
)
ROWS = [
    SessionRow(
        id=1,
        service="always-on-vpn",
        server="rras-2",
        client="198.51.100.7:4500",
        phase="ESTABLISHED",
        age_s=8054.0,
        idle_s=1.0,
        traffic=Traffic(packets_in=4000, bytes_in=1_200_000, packets_out=6000, bytes_out=4_000_000),
        path="fast",
        why="least",
        spi_i="4f2a91c0aa01d3e7",
        spi_r="91b2c00d77aa0e51",
    ),
    SessionRow(
        id=2,
        service="always-on-vpn",
        server="rras-2",
        client="198.51.100.7:61022",
        phase="MOVED",
        age_s=2460.0,
        idle_s=3.0,
        traffic=Traffic(packets_in=900, bytes_in=220_000, packets_out=1500, bytes_out=900_000),
        path="fast",
        why="spi",
        spi_i="aa2a91c0aa01d3e7",
        spi_r="bbb2c00d77aa0e51",
    ),
    SessionRow(
        id=3,
        service="partners",
        server="sswan-1",
        client="[2001:db8:ffff:1234:5678:9abc:def0:1]:500",
        phase="AUTH",
        age_s=2.0,
        idle_s=0.4,
        traffic=Traffic(packets_in=3, bytes_in=980, packets_out=2, bytes_out=0),
        path="slow",
        why="source",
        spi_i="cc2a91c0aa01d3e7",
        spi_r="",
    ),
]
EVENTS = [
    Event(
        number=1,
        at=NOW - 134,
        severity="error",
        kind="server-down",
        text="rras-3 down: no answer to IKE probe, ping answers",
        service="always-on-vpn",
        server="rras-3",
    ),
    Event(
        number=2,
        at=NOW - 60,
        severity="notice",
        kind="server-state",
        text="rras-2 set to drain by alice",
        service="always-on-vpn",
        server="rras-2",
    ),
    Event(
        number=3,
        at=NOW,
        severity="info",
        kind="session-opened",
        text="198.51.100.7:4500 to rras-2: least connections",
        client="198.51.100.7:4500",
    ),
]
PERSISTENCE = PersistenceRow(service="always-on-vpn", client="198.51.100.7/32", server="rras-2", left_s=1680.0)
DETAIL = SessionDetail(
    row=ROWS[0],
    vendor="Windows (MS NT5 ISAKMPOAKLEY v9)",
    flows=[
        FlowRow(
            client="198.51.100.7:500",
            port="ike",
            source="198.51.100.7:500",
            path="slow",
            idle_s=2460.0,
            traffic=Traffic(packets_in=2, bytes_in=900, packets_out=2, bytes_out=800),
        ),
        FlowRow(
            client="198.51.100.7:4500",
            port="nat-t",
            source="198.51.100.7:4500",
            path="fast",
            idle_s=1.0,
            traffic=ROWS[0].traffic,
        ),
    ],
    persistence=PERSISTENCE,
    messages=[
        MessageRow(
            at=NOW - 8054,
            direction="in",
            exchange="IKE_SA_INIT",
            message_id=0,
            response=False,
            size_bytes=432,
        ),
        MessageRow(
            at=NOW - 8054,
            direction="out",
            exchange="IKE_SA_INIT",
            message_id=0,
            response=True,
            size_bytes=440,
        ),
    ],
)
EXPLANATION = Explanation(
    client="198.51.100.7",
    service="always-on-vpn",
    sessions=[DETAIL],
    persistence=PERSISTENCE,
    next_server="rras-1",
    next_reason="rras-2 drains; rras-1 is the only server that takes new sessions",
)
CONFIG = ConfigState(
    path="/etc/ikeconsole/config.toml",
    text='[[service]]\nname = "always-on-vpn"\n',
    on_disk_differs=True,
    difference="--- running\n+++ on disk\n@@ -1 +1 @@\n-weight = 100\n+weight = 50\n",
)
REVISION = Revision(
    number=7, at=NOW - 3600, author="alice", summary="rras-2 state enabled -> drain", difference="-a\n+b\n"
)


class FakeEngine:
    """Answers from fixed records and notes changes; `failure` makes every call but status raise."""

    config_path = "/etc/ikeconsole/config.toml"

    def __init__(self) -> None:
        self.changes: list[tuple[object, ...]] = []
        self.failure: Exception | None = None
        self.gate: trio.Event | None = None
        self.running = 0
        self.most_running = 0
        self.times_asked = 0
        self._subscribers: list[trio.MemorySendChannel[Event]] = []

    def status(self) -> EngineStatus:
        self.times_asked += 1
        return STATUS

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """Filter by server and client text; wait for the gate where a test sets one."""
        self._fail()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        rows = [row for row in ROWS if query.server in (None, row.server) and (query.client or "") in row.client]
        window = rows[query.offset : query.offset + query.limit]
        return SessionPage(total=1292, matched=len(rows), offset=query.offset, rows=window)

    def session(self, number: int) -> SessionDetail:
        self._fail()
        if number != DETAIL.row.id:
            raise Refused("not-found", f"there is no session {number}")
        return DETAIL

    def explain(self, client: str) -> list[Explanation]:
        self._fail()
        return [EXPLANATION]

    def events(self, after: int, limit: int) -> list[Event]:
        self._fail()
        return [event for event in EVENTS if event.number > after][-limit:]

    def subscribe(self) -> AsyncIterator[Event]:
        send, receive = trio.open_memory_channel[Event](100)
        self._subscribers.append(send)
        return receive

    def publish(self, event: Event) -> None:
        """Tell every subscriber; end those that are full, as the engine does."""
        for subscriber in list(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._subscribers.remove(subscriber)
                subscriber.close()

    @property
    def subscribers(self) -> int:
        """How many subscriptions have not been closed by their reader."""
        return sum(1 for channel in self._subscribers if channel.statistics().open_receive_channels)

    async def set_server(
        self, service: str, server: str, *, state: str | None, weight: int | None, author: str
    ) -> Change:
        self._fail()
        if (service, server) not in {(s.service, s.name) for s in (RRAS_1, RRAS_2, RRAS_3, SSWAN_1)}:
            raise Refused("not-found", f"there is no real server {service}/{server}", ["known: always-on-vpn/rras-1"])
        if self.gate is not None:
            await self.gate.wait()
        self.changes.append(("set_server", service, server, state, weight, author))
        return Change(done=f"{server} is now {state or weight}; 601 sessions stay", sessions=601)

    async def clear(self, client: str) -> Change:
        self._fail()
        self.changes.append(("clear", client))
        return Change(done=f"forgot 2 sessions of {client}", sessions=2)

    async def move(self, client: str, server: str) -> Change:
        self._fail()
        self.changes.append(("move", client, server))
        return Change(done=f"{client} goes to {server} from its next packet on", sessions=1)

    async def reload(self, author: str) -> Change:
        self._fail()
        self.changes.append(("reload", author))
        return Change(done="configuration applied: no difference")

    async def config(self) -> ConfigState:
        self._fail()
        return CONFIG

    async def history(self, limit: int) -> list[Revision]:
        self._fail()
        return [REVISION][:limit]

    async def undo(self, author: str) -> Change:
        self._fail()
        self.changes.append(("undo", author))
        return Change(done="returned to revision 6")

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
