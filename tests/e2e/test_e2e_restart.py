"""Tunnels of real IKE daemons while the engine is killed, restarted, reconfigured and upgraded under them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from harness import fast_path
from harness.balancer import PROGRAM, TREE, service_name
from harness.lab import Lab
from harness.namespaces import CommandFailed
from harness.peers import Client, Ping
from harness.plan import Family
from harness.waiting import eventually

from engine.control.calls import ListEvents, ListSessions
from engine.control.records import SessionQuery, SessionRow
from engine.fastpath.pins import LINKS, Pins, digest_of, instance_name
from engine.fastpath.program import OBJECT
from engine.survival.orphans import orphans
from engine.survival.saving import JOURNAL, SAVED_EVERY_S

pytestmark = pytest.mark.e2e

sources = pytest.mark.parametrize("source", ["transparent", "snat"])
stops = pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])

INTERVAL_S = 0.02
UNDER = ("nsenter", f"--mount=/proc/{os.getpid()}/ns/mnt", f"--wd={TREE}")
"""`ip netns exec` hides the BPF file system behind a fresh /sys."""


def start(lab: Lab, source: str, setting: str) -> None:
    fast_path.start(lab, source, setting, under=UNDER)


def pins(lab: Lab) -> Pins:
    return Pins(instance_name(lab.balancer.state_dir))


def rows(lab: Lab) -> list[SessionRow]:
    return lab.balancer.ask(ListSessions(query=SessionQuery())).rows


def known(lab: Lab) -> dict[str, tuple[str, str]]:
    """Every session's SPI, server and phase."""
    return {row.spi_i: (row.server, row.phase) for row in rows(lab)}


def events(lab: Lab, kind: str) -> list[str]:
    return [event.text for event in lab.balancer.ask(ListEvents(limit=200)) if event.kind == kind]


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for lab in request.node.funcargs.values():
        if isinstance(lab, Lab):
            lab.balancer.close()
            pins(lab).drop()
            lab.tidy()


def doctor(lab: Lab) -> list[dict[str, str]]:
    """What `ikeconsole doctor` says while no engine runs."""
    command = [*UNDER, *PROGRAM, "doctor", "--json", "-c", str(lab.balancer.state_dir.with_name("config.toml"))]
    told: list[dict[str, str]] = json.loads(lab.balancer.node.namespace.run(*command, check=False))
    return told


def connect(lab: Lab) -> dict[Family, Client]:
    """A client for each family, with a tunnel."""
    clients = dict(zip(Family, (lab.clients["c1"], lab.clients["c2"]), strict=True))
    for family, client in clients.items():
        client.connect(lab.vip[family])
        client.await_data()
    return clients


class Pinging:
    """Pings through tunnels while something is done to the engine."""

    def __init__(self, clients: dict[Family, Client]) -> None:
        self._pings: dict[Family, Ping] = {family: client.start_ping(INTERVAL_S) for family, client in clients.items()}

    def go_on(self, answers: int = 25) -> None:
        for ping in self._pings.values():
            ping.await_answers(answers)

    def lost(self) -> dict[Family, int]:
        self.go_on()
        return {family: len(ping.finish().gaps) for family, ping in self._pings.items()}

    def __enter__(self) -> Pinging:
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        for ping in self._pings.values():
            ping.abandon()


def saved(lab: Lab) -> None:
    """Wait until what has happened is on disk."""
    time.sleep(2 * SAVED_EVERY_S)
    assert (lab.balancer.state_dir / JOURNAL).exists()


def remote_ends(lab: Lab, clients: dict[Family, Client]) -> dict[Family, tuple[str, int]]:
    """The addresses and ports that the servers see."""
    seen = {family: lab.servers[client.tunnel().server].sa_of(client) for family, client in clients.items()}
    return {family: (sa.remote_host, sa.remote_port) for family, sa in seen.items()}


def packets_of(lab: Lab, clients: dict[Family, Client]) -> dict[Family, int]:
    """How many packets each tunnel has had from its client, as the engine has it."""
    return {family: fast_path.session_of(lab, client).traffic.packets_in for family, client in clients.items()}


@sources
@stops
def test_the_fast_path_loses_no_packet_while_the_engine_is_gone(
    fast_lab: Lab, source: str, stop: signal.Signals
) -> None:
    """However it ends; the next one knows all sessions, and both paths go on with the same ports."""
    start(fast_lab, source, "native")
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    saved(fast_lab)
    before, ends = known(fast_lab), remote_ends(fast_lab, clients)
    with Pinging(clients) as pinging:
        counted = packets_of(fast_lab, clients)
        fast_lab.balancer.stop(stop)
        pinging.go_on(50)
        start(fast_lab, source, "native")
        assert all(now >= counted[family] + 50 for family, now in packets_of(fast_lab, clients).items())
        pinging.go_on(50)
        assert pinging.lost() == dict.fromkeys(clients, 0)
    assert known(fast_lab) == before
    assert fast_lab.balancer.status().kernel.flows == len(clients)
    for client in clients.values():
        client.rekey("child")
        client.rekey("ike")
        fast_path.await_fast(fast_lab, client)
    assert remote_ends(fast_lab, clients) == ends
    assert {server for server, _ in known(fast_lab).values()} == {server for server, _ in before.values()}


@stops
def test_tunnels_from_a_pool_go_on_without_sockets_from_the_same_addresses_and_ports(
    fast_lab: Lab, stop: signal.Signals
) -> None:
    """The kernel brings their answers to the next engine's one socket as it did to the former's."""
    pools = {family: [addresses[family] for addresses in fast_lab.topology.snat[1:]] for family in Family}

    def start_with_pools() -> None:
        config = fast_path.configure(fast_lab, "snat", "native")
        for service, pool in zip(config["service"], pools.values(), strict=True):
            service["snat_addresses"] = pool
        fast_lab.balancer.write(config)
        fast_lab.balancer.start(*UNDER)
        eventually(lambda: fast_lab.balancer.status().fast_path == "native", "the fast path is on")

    start_with_pools()
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    saved(fast_lab)
    before, ends = known(fast_lab), remote_ends(fast_lab, clients)
    assert all(host in pools[family] for family, (host, _) in ends.items())
    assert fast_lab.balancer.status().open_sockets == 0
    with Pinging(clients) as pinging:
        fast_lab.balancer.stop(stop)
        pinging.go_on(50)
        start_with_pools()
        pinging.go_on(50)
        assert pinging.lost() == dict.fromkeys(clients, 0)
    assert known(fast_lab) == before
    for client in clients.values():
        client.rekey("ike")
        fast_path.await_fast(fast_lab, client)
    assert remote_ends(fast_lab, clients) == ends
    assert fast_lab.balancer.status().open_sockets == 0


@sources
@stops
def test_the_slow_path_loses_only_the_packets_of_the_gap(lab: Lab, source: str, stop: signal.Signals) -> None:
    start(lab, source, "off")
    clients = connect(lab)
    saved(lab)
    before, ends = known(lab), remote_ends(lab, clients)
    with Pinging(clients) as pinging:
        gone_s = time.monotonic()
        lab.balancer.stop(stop)
        start(lab, source, "off")
        gap_s = time.monotonic() - gone_s
        lost = pinging.lost()
    assert all(packets * INTERVAL_S <= gap_s for packets in lost.values()), (lost, gap_s)
    assert known(lab) == before
    for client in clients.values():
        client.rekey("ike")
        client.await_data()
    assert remote_ends(lab, clients) == ends


@sources
def test_a_new_version_of_the_program_takes_over_between_two_packets(fast_lab: Lab, source: str) -> None:
    """It has other tables, so it gets what was saved before the devices get it."""
    start(fast_lab, source, "native")
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    saved(fast_lab)
    before, left = known(fast_lab), pins(fast_lab)
    with Pinging(clients) as pinging:
        fast_lab.balancer.stop()
        os.rename(left.directory / digest_of(OBJECT), left.directory / "0123456789abcdef")
        pinging.go_on()
        start(fast_lab, source, "native")
        pinging.go_on(50)
        assert pinging.lost() == dict.fromkeys(clients, 0)
    assert known(fast_lab) == before
    assert {path.name for path in left.directory.iterdir()} == {LINKS, digest_of(OBJECT)}
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)


def test_tunnels_that_only_the_kernel_knows_go_on(fast_lab: Lab) -> None:
    """Whatever has become of the file: client and server stand in the kernel's flows."""
    start(fast_lab, "transparent", "native")
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    saved(fast_lab)
    servers = {client.tunnel().server for client in clients.values()}
    with Pinging(clients) as pinging:
        fast_lab.balancer.stop(signal.SIGKILL)
        (fast_lab.balancer.state_dir / JOURNAL).write_bytes(os.urandom(1000))
        start(fast_lab, "transparent", "native")
        pinging.go_on(50)
        assert pinging.lost() == dict.fromkeys(clients, 0)
    assert (fast_lab.balancer.state_dir / f"{JOURNAL}.unusable-1").exists()
    (told,) = events(fast_lab, "sessions-unusable")
    assert "does not begin as a file of sessions does" in told
    assert {row.server for row in rows(fast_lab)} == servers
    for client in clients.values():
        client.rekey("ike")
        client.await_data()


def test_tunnels_survive_a_restart_with_another_configuration(lab: Lab) -> None:
    """Servers that stay keep theirs; those of one that is gone end, and are named."""
    start(lab, "transparent", "off")
    clients = connect(lab)
    saved(lab)
    servers = {family: client.tunnel().server for family, client in clients.items()}
    gone, kept = clients[Family.IPV4], clients[Family.IPV6]
    lab.balancer.stop(signal.SIGKILL)
    config = fast_path.configure(lab, "transparent", "off", scheduler="round-robin")
    for service in config["service"]:
        removed = servers[Family.IPV4] if service["name"] == service_name(Family.IPV4) else ""
        service["real_server"] = [server for server in service["real_server"] if server["name"] != removed]
    lab.balancer.write(config)
    lab.balancer.start(*UNDER)
    (told,) = events(lab, "sessions-adopted")
    assert told.startswith("1 session goes on; no engine was there for ")
    assert f"1 session does not: 1 because {service_name(Family.IPV4)}/{servers[Family.IPV4]} is gone" in told
    kept.rekey("ike")
    kept.await_data()
    gone.charon.close_all()
    assert gone.connect(lab.vip[Family.IPV4]).server != servers[Family.IPV4]


def test_down_removes_every_trace_and_is_refused_while_the_engine_runs(fast_lab: Lab) -> None:
    start(fast_lab, "transparent", "native")
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    with pytest.raises(CommandFailed, match=r"the engine .* runs: its tunnels would end"):
        fast_lab.balancer.down(under=UNDER)
    assert orphans(fast_lab.balancer.state_dir) is None
    fast_lab.balancer.stop(signal.SIGKILL)
    with fast_lab.balancer.node.namespace.entered():
        left = orphans(fast_lab.balancer.state_dir)
    assert left is not None
    assert set(left.devices) == {"lan0", "wan0"}
    assert len(clients[Family.IPV4].ping(5).answered) == 5
    (left_behind,) = [told for told in doctor(fast_lab) if told["check"] == "left-behind"]
    assert left_behind["state"] == "warn"
    assert "still on lan0 and wan0" in left_behind["text"]
    said = fast_lab.balancer.down(under=UNDER)
    assert "removed the fast path" in said
    assert "removed the return path" in said
    namespace = fast_lab.balancer.node.namespace
    assert "xdp" not in namespace.run("ip", "link")
    assert "fwmark" not in namespace.run("ip", "rule")
    assert "ikeconsole" not in namespace.run("nft", "list", "tables")
    assert not pins(fast_lab).exist
    assert "there was nothing to remove" in fast_lab.balancer.down(under=UNDER)


def test_down_stops_the_engine_when_told_to(fast_lab: Lab) -> None:
    start(fast_lab, "snat", "native")
    assert "removed the fast path" in fast_lab.balancer.down("--stop", under=UNDER)
    eventually(fast_lab.balancer.has_ended, "the engine has ended")
    assert not pins(fast_lab).exist


def test_without_a_place_for_pins_the_engine_says_so_and_all_works_as_ever(fast_lab: Lab) -> None:
    fast_path.start(fast_lab, "transparent", "native")
    (told,) = events(fast_lab, "fast-path-unpinned")
    assert "no BPF file system is mounted: mount -t bpf bpf /sys/fs/bpf" in told
    clients = connect(fast_lab)
    saved(fast_lab)
    fast_lab.balancer.stop()
    assert "xdp" not in fast_lab.balancer.node.namespace.run("ip", "link")
    fast_path.start(fast_lab, "transparent", "native")
    fast_path.check_fast(fast_lab, *clients.values())


def test_a_fast_path_that_is_wanted_no_more_is_taken_out_at_the_next_start(fast_lab: Lab) -> None:
    """And its tunnels go on, on the slow path."""
    start(fast_lab, "transparent", "native")
    clients = connect(fast_lab)
    for client in clients.values():
        fast_path.await_fast(fast_lab, client)
    saved(fast_lab)
    fast_lab.balancer.stop()
    start(fast_lab, "transparent", "off")
    assert not pins(fast_lab).exist
    (told,) = events(fast_lab, "fast-path")
    assert "taken out of the kernel" in told
    for client in clients.values():
        client.await_data()
    assert {row.path for row in rows(fast_lab)} == {"slow"}
