"""An engine that only has records to show: what control clients are tested against."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
import trio
from advice_facts import FACTS
from captured_messages import CAPTURED

from engine.advise.adviser import advise
from engine.config.changes import changes
from engine.config.dump import to_short_table
from engine.config.load import Loaded, digest_of, parse
from engine.config.problems import ConfigError
from engine.config.schema import AdminState
from engine.control.api import Refused
from engine.control.captured import Captured
from engine.control.records import (
    Advice,
    Change,
    ConfigState,
    Effect,
    Event,
    Explanation,
    FlowRow,
    MessageRow,
    PersistenceRow,
    Plan,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
    SessionRow,
    Settings,
)
from engine.control.status import (
    Alarm,
    EngineStatus,
    HealthChange,
    ProbeRow,
    Rates,
    Series,
    ServerHistory,
    ServerStatus,
    ServiceStatus,
    SourceUse,
    Traffic,
)
from engine.forecast import Leaving, Outlook, Standing, forecast
from engine.live import Live, LiveServer
from engine.planning import Draft, make_draft, make_plan, problems_of, summed_up
from engine.policy.candidate import Snapshot

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
    rates=Rates(
        new_sessions=2.1,
        ended_sessions=1.4,
        packets_in=42_000.0,
        bytes_in=26_250_000.0,
        packets_out=68_000.0,
        bytes_out=70_000_000.0,
    ),
    oldest_session_s=28_320.0,
    handshakes=256,
    handshake_median_s=0.084,
    handshake_p95_s=0.312,
    retransmitted_in=41,
    retransmitted_out=3,
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
    rates=Rates(
        new_sessions=0.0,
        ended_sessions=0.6,
        packets_in=40_000.0,
        bytes_in=25_250_000.0,
        packets_out=66_000.0,
        bytes_out=67_500_000.0,
    ),
    oldest_session_s=28_310.0,
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
    rates=Rates(),
    flaps=1,
    oldest_session_s=None,
    handshakes=0,
    handshake_median_s=None,
    handshake_p95_s=None,
    retransmitted_in=0,
    retransmitted_out=0,
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
    rates=Rates(
        new_sessions=0.1,
        ended_sessions=0.0,
        packets_in=2_400.0,
        bytes_in=1_500_000.0,
        packets_out=4_800.0,
        bytes_out=3_750_000.0,
    ),
    oldest_session_s=7_900.0,
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
    rates=Rates(
        new_sessions=2.1,
        ended_sessions=2.0,
        packets_in=82_000.0,
        bytes_in=51_500_000.0,
        packets_out=134_000.0,
        bytes_out=137_500_000.0,
    ),
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
    rates=SSWAN_1.rates,
)
RRAS_3_DOWN = Alarm(
    kind="server-down",
    severity="error",
    since_at=NOW - 134,
    text="always-on-vpn/rras-3 is down: no answer to IKE probe, ping answers; its clients go to other servers",
    remedy="see that its IKE service runs and that UDP 500 from this machine reaches 10.0.0.13; "
    "`ikeconsole disable always-on-vpn/rras-3` if it is to stay away",
    place="server",
    service="always-on-vpn",
    server="rras-3",
)
SSWAN_1_CROWDED = Alarm(
    kind="snat-crowded",
    severity="warning",
    since_at=NOW - 7_300,
    text="partners/sswan-1: 80 sessions come from the one address 10.0.9.1: "
    "the server may refuse further clients (error 809)",
    remedy='add snat_addresses, or use source = "transparent"; else raise the limit on the server: '
    "Windows IkeNumEstablishedForInitialQuery (then restart IKEEXT), strongSwan cookie_threshold and block_threshold",
    place="server",
    service="partners",
    server="sswan-1",
)
STATUS = EngineStatus(
    host="vpn-edge-1",
    version="0.1.0",
    pid=4711,
    started_at=NOW - 784_000,
    up_s=784_000,
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
    rates=Rates(
        new_sessions=2.2,
        ended_sessions=2.0,
        packets_in=84_400.0,
        bytes_in=53_000_000.0,
        packets_out=138_800.0,
        bytes_out=141_250_000.0,
    ),
    alarms=[RRAS_3_DOWN, SSWAN_1_CROWDED],
    config_digest="",
    last_event=3,
)
WINDOWS = "Windows 8+ (MS NT5 ISAKMPOAKLEY v9)"
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
        vendor=WINDOWS,
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
        error="IKE_AUTH refused?",
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
PIN = PersistenceRow(service="always-on-vpn", client="198.51.100.40/32", server="rras-1", left_s=0.0, pinned=True)
SERVER_HISTORY = ServerHistory(
    service="always-on-vpn",
    server="rras-3",
    changes=[
        HealthChange(at=NOW - 90_000, old="unknown", new="up", reason="answers IKE", after_s=0.4),
        HealthChange(
            at=NOW - 134, old="up", new="down", reason="no answer to IKE probe, ping answers", after_s=89_866.0
        ),
    ],
    probes=[
        *(ProbeRow(at=NOW - 194 + 5 * n, ok=True, reason="answers IKE", rtt_s=0.003 + n / 10_000) for n in range(10)),
        *(
            ProbeRow(at=NOW - 144 + 5 * n, ok=False, reason="no answer to IKE probe, ping answers", rtt_s=None)
            for n in range(28)
        ),
    ],
)
CLEARING = Effect(
    lines=[
        "2 of 1 292 sessions end: 2 on always-on-vpn/rras-2 (1 established, 1 moved).",
        "Its next packet goes to always-on-vpn/rras-1 (scheduled by weighted-least-connections), "
        "which does not know its tunnel. The tunnel breaks and the client must reconnect.",
        "1 persistence record is forgotten: 198.51.100.7/32 → always-on-vpn/rras-2.",
    ],
    sessions=2,
)
MOVING = Effect(
    lines=[
        "2 of 1 292 sessions end: 2 on always-on-vpn/rras-2 (1 established, 1 moved).",
        "Its next packet goes to always-on-vpn/rras-1 (it carries 603 sessions of at most 1 500), "
        "which does not know its tunnel. The tunnel breaks and the client must reconnect.",
        "It returns there until it has been away for 30 m.",
    ],
    sessions=2,
)
DETAIL = SessionDetail(
    row=ROWS[0],
    vendor=WINDOWS,
    handshake_s=0.084,
    retransmitted_in=2,
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


SERIES_STEP_S = 5.0


def series_of(service: str, server: str, sessions: int, points: int) -> Series:
    """A wave around a number of sessions that ends there."""
    wave = [0.75 + 0.25 * math.cos((points - 1 - place) / 7) for place in range(points)]
    return Series(
        service=service,
        server=server,
        step_s=SERIES_STEP_S,
        until_at=NOW,
        sessions=[round(sessions * height) for height in wave],
        new_sessions=[round(sessions / 600 * height, 2) for height in wave],
        packets_in=[round(sessions * 12 * height, 1) for height in wave],
        bytes_in=[round(sessions * 9_000 * height, 1) for height in wave],
        packets_out=[round(sessions * 20 * height, 1) for height in wave],
        bytes_out=[round(sessions * 24_000 * height, 1) for height in wave],
    )


SETTINGS: dict[str, Any] = {
    "engine": {"control_group": "vpn-operators"},
    "service": [
        {
            "name": "always-on-vpn",
            "address": "203.0.113.10",
            "slow_start": "1m",
            "health": {"interval": "10s"},
            "real_server": [
                {"name": "rras-1", "address": "10.0.0.11", "max_sessions": 1500},
                {"name": "rras-2", "address": "10.0.0.12", "state": "drain"},
                {"name": "rras-3", "address": "10.0.0.13"},
            ],
        },
        {
            "name": "partners",
            "address": "2001:db8::500",
            "source": "snat",
            "scheduler": "round-robin",
            "persistence": "ike-spi",
            "real_server": [{"name": "sswan-1", "address": "2001:db8:10::21"}],
        },
    ],
}
LIVE = Live(
    servers={
        (server.service, server.name): LiveServer(server.sessions, server.health)
        for service in STATUS.services
        for server in service.servers
    },
    records={service.name: service.persistence_records for service in STATUS.services},
)
LEAVING = Leaving(watched_s=3600.0, ended=190, oldest_s=28_320.0)


def loaded(tables: dict[str, Any]) -> Loaded:
    """A configuration as it would have been read from a file."""
    text, path = tomlkit.dumps(tables), Path("/etc/ikeconsole/config.toml")
    return Loaded(path, text, parse(text, path), digest_of(text))


STATUS = msgspec.structs.replace(STATUS, config_digest=loaded(SETTINGS).digest)


def outlook(server: ServerStatus) -> Outlook:
    """What a forecast is made of."""
    standing = Standing(
        admin_state=server.admin_state,
        health=server.health,
        weight=server.weight,
        sessions=server.sessions,
        max_sessions=server.max_sessions,
        agent_load=None,
    )
    candidate = Snapshot(
        name=server.name,
        weight=server.weight,
        effective_weight=float(server.weight),
        load=float(server.sessions),
        rtt_s=server.rtt_s,
        agent_load=None,
    )
    return Outlook(standing, candidate, server.health_reason)


class FakeEngine:
    """Answers from fixed records and notes changes; `failure` makes every call but status raise."""

    config_path = "/etc/ikeconsole/config.toml"

    def __init__(self) -> None:
        self.changes: list[tuple[object, ...]] = []
        self.loaded = loaded(SETTINGS)
        self.failure: Exception | None = None
        self.gate: trio.Event | None = None
        self.running = 0
        self.most_running = 0
        self.times_asked = 0
        self._subscribers: list[trio.MemorySendChannel[Event]] = []
        self.captured = [CAPTURED]
        """What every capture begins with."""
        self.capturing: trio.MemorySendChannel[Captured] | None = None
        """What feeds the latest capture."""

    def status(self) -> EngineStatus:
        self.times_asked += 1
        return msgspec.structs.replace(STATUS, config_digest=self.loaded.digest)

    def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
        self._fail()
        everything = [("", "", STATUS.sessions)]
        for one in STATUS.services:
            everything.append((one.name, "", one.sessions))
            everything += [(one.name, each.name, each.sessions) for each in one.servers]
        if service is not None:
            everything = [thing for thing in everything if thing[:2] == (service, server or "")]
        return [series_of(*thing, points) for thing in everything]

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

    async def advice(self, service: str, server: str) -> list[Advice]:
        """Advice on what the services of STATUS might be found to be."""
        self._fail()
        found = advise(FACTS)
        return [one for one in found if service in ("", one.service) and server in ("", one.server)]

    def explain(self, client: str) -> list[Explanation]:
        self._fail()
        return [EXPLANATION]

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        self._fail()
        return [event for event in EVENTS if event.number > after and (not before or event.number < before)][-limit:]

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

    def capture(self, client: str, seconds: float, messages: int, author: str) -> AsyncIterator[Captured]:
        """What a test has put there, and then nothing more."""
        self._fail()
        self.changes.append(("capture", client, seconds, messages, author))
        self.capturing, told = trio.open_memory_channel[Captured](100)
        for captured in self.captured:
            self.capturing.send_nowait(captured)
        return told

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

    def server_history(self, service: str, server: str) -> ServerHistory:
        self._fail()
        return msgspec.structs.replace(SERVER_HISTORY, service=service, server=server)

    async def probe_now(self, service: str, server: str) -> ProbeRow:
        """Down servers fail their probe, the others pass it."""
        self._fail()
        self.changes.append(("probe_now", service, server))
        return SERVER_HISTORY.probes[-1 if server == RRAS_3.name else 0]

    async def clear(self, client: str, session: int | None) -> Change:
        self._fail()
        self.changes.append(("clear", client, session))
        if session is not None:
            return Change(done=f"cleared session {session} of 198.51.100.7", sessions=1)
        return Change(done=f"forgot 2 sessions of {client}", sessions=2)

    async def preview_clear(self, client: str, session: int | None) -> Effect:
        self._fail()
        return CLEARING

    def preview_move(self, client: str, server: str) -> Effect:
        self._fail()
        return MOVING

    def pin(self, client: str, server: str) -> Change:
        self._fail()
        self.changes.append(("pin", client, server))
        return Change(done=f"{client}/32 is pinned to {server}. It holds until unpinned")

    def unpin(self, client: str) -> Change:
        self._fail()
        self.changes.append(("unpin", client))
        return Change(done=f"unpinned {client}/32: its sessions stay, new ones are scheduled")

    def pins(self) -> list[PersistenceRow]:
        self._fail()
        return [PIN]

    async def move(self, client: str, server: str) -> Change:
        self._fail()
        self.changes.append(("move", client, server))
        return Change(done=f"{client} goes to {server} from its next packet on", sessions=1)

    def preview_server(self, service: str, server: str, *, state: str | None, weight: int | None) -> Effect:
        self._fail()
        for owner in STATUS.services:
            if owner.name == service and server in {one.name for one in owner.servers}:
                servers = [outlook(one) for one in owner.servers]
                wanted = AdminState(state) if state else None
                return forecast(service, owner.scheduler, servers, server, state=wanted, weight=weight, leaving=LEAVING)
        raise Refused("not-found", f"there is no real server {service}/{server}")

    def settings(self) -> Settings:
        self._fail()
        return Settings(base=self.loaded.digest, path=self.config_path, tables=to_short_table(self.loaded.config))

    async def plan(self, base: str, tables: dict[str, Any]) -> Plan:
        """Work the plan out as the engine does, for the sessions of STATUS."""
        self._fail()
        self._require(base)
        try:
            return make_plan(self.loaded, make_draft(self.loaded, tables), LIVE, "edited")
        except ConfigError as error:
            return problems_of(error)

    async def apply(
        self, base: str, tables: dict[str, Any], *, summary: str, author: str, unrestricted: bool = False
    ) -> Change:
        """Take other settings over, so that what was planned against the old ones is a conflict."""
        self._fail()
        self._require(base)
        try:
            draft = make_draft(self.loaded, tables)
        except ConfigError as error:
            raise Refused("invalid", "not applied; the running configuration stays", error.lines()) from error
        plan = make_plan(self.loaded, draft, LIVE, "edited")
        done = summed_up(summary, changes(self.loaded.config, draft.config))
        self.loaded = Loaded(self.loaded.path, draft.text, draft.config, digest_of(draft.text))
        self.changes.append(("apply", done, author))
        return Change(done=done, sessions=plan.effect.sessions)

    def _require(self, base: str) -> None:
        if base != self.loaded.digest:
            message = "the configuration was changed meanwhile: rras-2 state drain (by alice): look at that, then make "
            raise Refused("conflict", f"{message}your change again", ["--- yours", "+++ running", '+state = "drain"'])

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

    async def preview_undo(self) -> Plan:
        self._fail()
        text = self.loaded.text.replace('state = "drain"\n', "")
        return make_plan(self.loaded, Draft(text, parse(text, self.loaded.path)), LIVE, "revision 6")

    async def undo(self, author: str, *, unrestricted: bool = False) -> Change:
        self._fail()
        self.changes.append(("undo", author))
        return Change(done="returned to revision 6")

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
