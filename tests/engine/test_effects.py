"""What is said of a configuration before it is put in force is what putting it in force then does."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from netaddr import IPAddress
from vpn_peers import address

from engine.config.schema import (
    AdminState,
    Config,
    EngineSection,
    Health,
    HealthKind,
    PersistenceKind,
    PrefixLengths,
    RealServer,
    Service,
    Source,
)
from engine.config.validate import validate
from engine.deployment import Deployment
from engine.effects import effect
from engine.events import EventLog
from engine.live import Live, LiveServer, live
from engine.net.forwarder import Forwarder
from engine.net.pump import Pump
from engine.net.starvation import Starvation
from engine.session_events import SessionEvents
from engine.sessions import keys
from engine.sessions.session import Phase

A = RealServer(name="a", address=IPAddress("10.0.0.11"))
B = RealServer(name="b", address=IPAddress("10.0.0.12"))
VPN = Service(name="vpn", address=IPAddress("203.0.113.10"), real_servers=[A, B])
CONFIG = Config(services=[VPN])
LIVE = Live(servers={("vpn", "a"): LiveServer(12, "up"), ("vpn", "b"): LiveServer(1, "up", 2)}, records={"vpn": 1311})
ANEW = "New clients are scheduled anew at once."
STEERED = "their clients are steered anew with their next packet and reconnect."
RECORDS = "1 311 persistence records of vpn are cleared: clients that return are scheduled anew."


def lines(new: Config, now: Live = LIVE) -> list[str]:
    return effect(CONFIG, new, now).lines


def with_service(**settings: object) -> Config:
    return Config(services=[replace(VPN, **settings)])


def with_servers(*servers: RealServer) -> Config:
    return with_service(real_servers=list(servers))


@pytest.mark.parametrize(
    ("new", "said", "ended"),
    [
        pytest.param(with_service(port_following=False), ["No session moves."], 0, id="nothing of the kind"),
        pytest.param(with_service(scheduler="fixed"), [f"No session moves. {ANEW}"], 0, id="scheduler"),
        pytest.param(
            with_servers(A, replace(B, state=AdminState.DISABLED)),
            [f"1 session on vpn/b ends (disabled); {STEERED}", f"No other session moves. {ANEW}"],
            1,
            id="disabled",
        ),
        pytest.param(
            with_servers(A),
            [
                f"1 session on vpn/b ends (removed); {STEERED}",
                "2 clients of vpn will be pinned no longer.",
                f"No other session moves. {ANEW}",
            ],
            1,
            id="removed",
        ),
        pytest.param(
            with_servers(replace(A, name="first"), B),
            [f"12 sessions on vpn/a end (renamed to first); {STEERED}", f"No other session moves. {ANEW}"],
            12,
            id="renamed",
        ),
        pytest.param(
            with_servers(replace(A, address=IPAddress("10.0.0.99")), B),
            [f"12 sessions on vpn/a end (its address becomes 10.0.0.99); {STEERED}", f"No other session moves. {ANEW}"],
            12,
            id="address",
        ),
        pytest.param(
            with_servers(replace(A, nat_t_port=4501), B),
            [f"12 sessions on vpn/a end (its ports become 500 and 4501); {STEERED}", f"No other session moves. {ANEW}"],
            12,
            id="port",
        ),
        pytest.param(
            with_service(address=IPAddress("203.0.113.99")),
            [
                "vpn moves to 203.0.113.99 ports 500 and 4500: its 13 sessions end; its clients must connect there.",
                "No other session moves.",
            ],
            13,
            id="service address",
        ),
        pytest.param(
            Config(),
            ["vpn is removed: its 13 sessions end; its clients are answered no longer.", "No other session moves."],
            13,
            id="service removed",
        ),
        pytest.param(
            with_service(name="vpn-2"),
            [f"vpn is renamed to vpn-2: its 13 sessions end; {STEERED}", f"No other session moves. {ANEW}"],
            13,
            id="service renamed",
        ),
        pytest.param(
            with_servers(replace(A, state=AdminState.DRAIN), B),
            [f"No session moves. {ANEW}", "12 sessions on vpn/a stay, but no new ones come."],
            0,
            id="drain",
        ),
        pytest.param(
            with_service(persistence=PersistenceKind.NONE), ["No session moves.", RECORDS], 0, id="persistence"
        ),
        pytest.param(
            with_service(health=Health(type=HealthKind.ICMP)),
            ["No session moves.", "Servers of vpn count as neither up nor down until the first new probe."],
            0,
            id="another probe",
        ),
        pytest.param(
            Config(engine=EngineSection(max_sessions=10, control_group="ops"), services=[VPN]),
            [
                "No session moves.",
                "max_sessions of 10 is below the 13 sessions there are: established ones stay, "
                "new ones are taken only in place of half-open or sleeping ones.",
                "Restart the engine for control_group.",
            ],
            0,
            id="engine",
        ),
    ],
)
def test_the_consequence_of_every_kind_of_change_is_said(new: Config, said: list[str], ended: int) -> None:
    found = effect(CONFIG, new, LIVE)
    assert (found.lines, found.sessions) == (said, ended)


def test_another_source_is_said_where_sessions_stay() -> None:
    (stay, moved) = lines(with_service(source=Source.SNAT))
    assert stay == "No session moves."
    assert "from another source address with their next packet" in moved


def test_the_change_that_ends_most_comes_first() -> None:
    gone, more, *_ = lines(with_servers(replace(B, address=IPAddress("10.0.0.99"))))
    assert gone.startswith("12 sessions on vpn/a end (removed)")
    assert more.startswith("1 session on vpn/b ends (its address")


@pytest.mark.parametrize("b", [replace(B, weight=0), replace(B, state=AdminState.DRAIN), replace(B, max_sessions=1)])
def test_a_service_left_without_a_server_is_warned_of_first(b: RealServer) -> None:
    assert lines(with_servers(replace(A, state=AdminState.DRAIN), b))[0] == (
        "No server of vpn takes new sessions then: new clients are turned away."
    )


def test_a_server_that_is_down_is_none_that_clients_can_go_to() -> None:
    down = Live(servers={("vpn", "a"): LiveServer(3, "up"), ("vpn", "b"): LiveServer(0, "down")}, records={})
    warning = "No server of vpn takes new sessions then: new clients are turned away."
    drained = replace(A, state=AdminState.DRAIN)
    assert warning in lines(with_servers(drained, B), down)
    corrected = replace(B, address=IPAddress("10.0.0.99"))
    assert warning not in lines(with_servers(drained, corrected), down)


@st.composite
def servers(draw: st.DrawFn) -> list[RealServer]:
    hosts = draw(st.permutations([11, 12, 13]))
    return [draw(server(name, host)) for name, host in zip("abc", hosts[: draw(st.integers(1, 3))], strict=False)]


@st.composite
def server(draw: st.DrawFn, name: str, host: int) -> RealServer:
    return RealServer(
        name=name,
        address=IPAddress(address(host)),
        ike_port=draw(st.sampled_from([0, 10_600])),
        state=draw(st.sampled_from(AdminState)),
    )


@st.composite
def services(draw: st.DrawFn, name: str, host: int) -> Service:
    return Service(
        name=name,
        address=IPAddress(address(host)),
        ike_port=draw(st.sampled_from([10_700, 10_701])),
        nat_t_port=14_700,
        source=Source.SNAT,
        snat_addresses=draw(st.sampled_from([[], [address(50)]])),
        scheduler=draw(st.sampled_from(["fixed", "round-robin"])),
        persistence=draw(st.sampled_from(PersistenceKind)),
        persistence_prefix=draw(st.sampled_from([PrefixLengths(), PrefixLengths(v4=24)])),
        health=Health(type=HealthKind.NONE),
        real_servers=draw(servers()),
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    return Config(services=[draw(services("x", 1)), draw(services("y", 2))])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Config, Config]:
    """A configuration, and one in which some of it is another configuration's."""
    old, other = draw(configs()), draw(configs())
    mixed = []
    for mine, its in zip(old.services, other.services, strict=True):
        taken = draw(st.sets(st.sampled_from(["ike_port", "snat_addresses", "scheduler", "persistence"]), max_size=1))
        changed = [
            draw(st.sampled_from([one, one, replace(one, ike_port=10_601), replace(one, state=AdminState.DISABLED)]))
            for one in mine.real_servers
        ]
        kept = draw(st.sampled_from([mine.real_servers, changed, changed[1:], its.real_servers]))
        mixed.append(replace(mine, real_servers=kept, **{key: getattr(its, key) for key in taken}))
    new = draw(st.sampled_from([mixed, mixed, mixed[1:], [replace(mixed[0], name="z"), mixed[1]]]))
    assert not validate(old)
    assert not validate(Config(services=new))
    return old, Config(services=new)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_as_many_sessions_and_records_go_as_was_said(pair: tuple[Config, Config], loads: list[int]) -> None:
    """Between any two configurations, on a deployment that really has the sessions."""
    old, new = pair

    async def change() -> None:
        async with trio.open_nursery() as nursery:
            events = EventLog()
            forwarder = Forwarder(1000, 1000, Starvation(events), SessionEvents(events))
            deployment = Deployment(nursery, forwarder, Pump(forwarder), events, b"secret")
            await deployment.commit(await deployment.prepare(old))
            fill(deployment, forwarder, loads)
            before = live(deployment.services.values())
            said = effect(old, new, before)
            ended = await deployment.commit(await deployment.prepare(new))
            after = live(deployment.services.values())
            left = sum(server.sessions for server in after.servers.values())
            assert said.sessions == ended == sum(server.sessions for server in before.servers.values()) - left
            for name, records in before.records.items():
                cleared = f"of {name} {'is' if records == 1 else 'are'} cleared" in "".join(said.lines)
                assert not cleared or not after.records.get(name)
            await deployment.close()
            nursery.cancel_scope.cancel()

    trio.run(change)


def fill(deployment: Deployment, forwarder: Forwarder, loads: list[int]) -> None:
    """Give the real servers in force sessions, some half-open, and a persistence record for each."""
    each = iter(loads)
    client = 0
    for service in deployment.services.values():
        for server in service.servers.values():
            for number in range(next(each) if server.keeps_sessions else 0):
                client += 1
                host = f"198.51.100.{client}"
                session = forwarder.table.open(service, server, host, "test", trio.current_time())
                keys.remember(service, host, server, trio.current_time())
                forwarder.table.set_phase(session, (Phase.INIT, Phase.ESTABLISHED, Phase.IDLE)[number % 3])
