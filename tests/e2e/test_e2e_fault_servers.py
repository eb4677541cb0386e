"""Real servers that are killed, hang, flap or are cut off: what it costs their own tunnels, and those of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from harness import fast_path, settings
from harness.balancer import HEALTH, service_name
from harness.fault_table import Report
from harness.faults import Outcome, under_load
from harness.hole import Swallowed, swallowing
from harness.lab import Lab
from harness.peers import Client, Profile, Server
from harness.plan import Family
from harness.settings import FAST, FAST_SNAT, SLOW, SLOW_SNAT, Setting, events, in_settings
from harness.waiting import eventually

from engine.telemetry.conditions import FLAPS

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

FAMILY = {"fast": Family.IPV4, "slow": Family.IPV6}
PROBES = HEALTH | {"interval": "0.5s", "timeout": "0.5s", "fall": 3}
SHORT_S = 0.7
"""Shorter than three probes take to fail."""
BACK_WITHIN_S = 2.0
"""Of a server that answers again: the next probe, and the client's next packet after it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Two servers with a client each: something happens to the one of them."""

    lab: Lab
    setting: Setting
    family: Family
    server: Server
    """The one that suffers."""
    own: Client
    """Its client."""
    other: Client

    def alarm(self, kind: str) -> str:
        """An alarm about the server, with its remedy; empty: none stands."""
        about = service_name(self.family), self.server.node.name
        standing = (one for one in self.lab.balancer.status().alarms if (one.service, one.server) == about)
        return next((f"{one.text}; {one.remedy}" for one in standing if one.kind == kind), "")

    def await_alarm(self, kind: str, timeout_s: float = 15) -> str:
        """Wait until it stands; what an operator reads."""
        return eventually(lambda: self.alarm(kind), f"the alarm {kind} stands", timeout_s)

    def await_no_alarm(self, kind: str, timeout_s: float = 15) -> None:
        """Wait until it is over."""
        eventually(lambda: not self.alarm(kind), f"{kind} is over", timeout_s)

    def newcomer_goes_to_the_other(self) -> None:
        """A client that nothing is known of gets a server that works."""
        newcomer = self.lab.clients["n1"]
        assert newcomer.connect(self.lab.vip[self.family], Profile.CERT).server == self.other.tunnel().server


@pytest.fixture
def scene(fast_lab: Lab, setting: Setting) -> Iterator[Scene]:
    """An engine, and tunnels to both servers that take the path."""
    lab, family = fast_lab, FAMILY[setting.path]
    config = setting.configure(lab)
    for service in config["service"]:
        service["health"] = PROBES
    lab.balancer.write(config)
    setting.start(lab)
    own, other = lab.clients["c1"], lab.clients["c2"]
    for client in (own, other):
        client.connect(lab.vip[family], Profile.CERT)
        client.await_data()
        if setting.path == "fast":
            fast_path.await_fast(lab, client)
    assert own.tunnel().server != other.tunnel().server
    yield Scene(lab, setting, family, lab.servers[own.tunnel().server], own, other)
    for server in lab.servers.values():
        if server.charon.running:
            server.charon.wake()
        else:
            server.start()
    settings.tidy(lab)


def lost_nothing(outcome: Outcome) -> None:
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome


@in_settings(FAST, SLOW)
def test_others_lose_nothing_while_a_server_is_killed_and_started(scene: Scene, report_fault: Report) -> None:
    """Its client gets another server at once, and stays there."""
    lab, server, family = scene.lab, scene.server, scene.family
    with under_load(lab, [scene.other]) as load:
        server.charon.kill()
        told = scene.await_alarm("server-down")
        scene.own.charon.close_all()
        assert scene.own.connect(lab.vip[family], Profile.CERT).server == scene.other.tunnel().server
        scene.own.await_data()
        server.start()
        scene.await_no_alarm("server-down")
        assert len(scene.own.ping(10).answered) == 10
        outcome = load.outcome()
    lost_nothing(outcome)
    report_fault(
        "a real server is killed and started: tunnels of the others",
        str(scene.setting),
        outcome,
        told=f"server-down: {told}",
    )


@in_settings(FAST, SLOW)
def test_a_server_that_hangs_for_less_than_its_probes_take_keeps_all(scene: Scene, report_fault: Report) -> None:
    with under_load(scene.lab, [scene.other]) as others, under_load(scene.lab, [scene.own]) as own:
        scene.server.charon.hang()
        time.sleep(SHORT_S)
        scene.server.charon.wake()
        hung, untouched = own.outcome(), others.outcome()
    lost_nothing(untouched)
    assert hung.sessions_lost == 0
    assert hung.silence_s < SHORT_S + BACK_WITHIN_S
    assert not events(scene.lab, "server-down")
    report_fault(f"a real server hangs for {SHORT_S} s: its own tunnels", str(scene.setting), hung)


@in_settings(FAST, FAST_SNAT, SLOW, SLOW_SNAT)
def test_tunnels_of_a_server_that_hung_go_on_when_it_is_back(scene: Scene, report_fault: Report) -> None:
    """Though it was down meanwhile, and its client's packets went elsewhere; newcomers get a server that works."""
    with under_load(scene.lab, [scene.other]) as others, under_load(scene.lab, [scene.own]) as own:
        scene.server.charon.hang()
        began_s = time.monotonic()
        told = scene.await_alarm("server-down")
        scene.newcomer_goes_to_the_other()
        scene.server.charon.wake()
        hung_s = time.monotonic() - began_s
        scene.await_no_alarm("server-down")
        hung, untouched = own.outcome(), others.outcome()
    lost_nothing(untouched)
    assert hung.sessions_lost == 0
    assert hung.silence_s < hung_s + BACK_WITHIN_S
    report_fault(
        "a real server hangs until it is down: its own tunnels", str(scene.setting), hung, told=f"server-down: {told}"
    )
    report_fault("a real server hangs until it is down: tunnels of the others", str(scene.setting), untouched)


@in_settings(FAST)
def test_flapping_moves_nobody(scene: Scene, report_fault: Report) -> None:
    """Neither its own clients nor those of the others; the operator is told to look at it."""
    with under_load(scene.lab, [scene.other]) as others, under_load(scene.lab, [scene.own]) as own:
        for _ in range(FLAPS):
            scene.server.charon.hang()
            scene.await_alarm("server-down")
            scene.server.charon.wake()
            scene.await_no_alarm("server-down")
            own.go_on()
        told = scene.await_alarm("server-flapping")
        flapped, untouched = own.outcome(), others.outcome()
    lost_nothing(untouched)
    assert flapped.sessions_lost == 0
    assert f"went up and down {2 * FLAPS} times" in told
    what = f"a real server goes down and up {FLAPS} times"
    report_fault(f"{what}: its own tunnels", str(scene.setting), flapped, told=f"server-flapping: {told}")
    report_fault(f"{what}: tunnels of the others", str(scene.setting), untouched)


@in_settings(FAST, SLOW_SNAT)
def test_tunnels_of_a_server_that_was_cut_off_go_on(scene: Scene, report_fault: Report) -> None:
    """A firewall lets nothing through to it for a while."""
    with under_load(scene.lab, [scene.other]) as others, under_load(scene.lab, [scene.own]) as own:
        began_s = time.monotonic()
        with swallowing(scene.server.node.namespace, Swallowed.ALL):
            told = scene.await_alarm("server-down")
            scene.newcomer_goes_to_the_other()
        cut_off_s = time.monotonic() - began_s
        scene.await_no_alarm("server-down")
        cut_off, untouched = own.outcome(), others.outcome()
    lost_nothing(untouched)
    assert cut_off.sessions_lost == 0
    assert cut_off.silence_s < cut_off_s + BACK_WITHIN_S
    report_fault(
        "a firewall drops all that goes to a real server: its own tunnels",
        str(scene.setting),
        cut_off,
        told=f"server-down: {told}",
    )
    report_fault(
        "a firewall drops all that goes to a real server: tunnels of the others", str(scene.setting), untouched
    )


@in_settings(FAST, SLOW)
def test_tunnels_lose_nothing_while_a_firewall_drops_only_ike(scene: Scene, report_fault: Report) -> None:
    """The server is down for newcomers only: data of its tunnels passes."""
    with under_load(scene.lab, [scene.own, scene.other]) as load:
        with swallowing(scene.server.node.namespace, Swallowed.IKE):
            told = scene.await_alarm("server-down")
            scene.newcomer_goes_to_the_other()
            load.go_on(100)
        scene.await_no_alarm("server-down")
        outcome = load.outcome()
    lost_nothing(outcome)
    assert "its sessions stay for now, new clients go to other servers" in told
    report_fault(
        "a firewall drops IKE to a real server: all tunnels", str(scene.setting), outcome, told=f"server-down: {told}"
    )


@in_settings(FAST)
def test_a_server_that_gets_no_data_is_told_though_it_answers_probes(scene: Scene, report_fault: Report) -> None:
    with under_load(scene.lab, [scene.other]) as others, under_load(scene.lab, [scene.own]) as own:
        with swallowing(scene.server.node.namespace, Swallowed.ESP):
            told = scene.await_alarm("no-data-back", timeout_s=25)
        cut_off, untouched = own.outcome(), others.outcome()
        scene.await_no_alarm("no-data-back", timeout_s=25)
    lost_nothing(untouched)
    assert cut_off.sessions_lost == 0
    assert not events(scene.lab, "server-down")
    report_fault(
        "a firewall drops ESP to a real server: its own tunnels",
        str(scene.setting),
        cut_off,
        told=f"no-data-back: {told}",
    )
