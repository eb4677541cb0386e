"""What should never happen, made to happen to real IKE daemons: the alarm names who is hurt and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import LAN, WAN, Family
from harness.topology import Node
from harness.vici import ViciError
from harness.waiting import eventually

from engine.control.calls import ListEvents
from engine.control.status import Alarm

pytestmark = pytest.mark.e2e

ELSEWHERE = "10.77.0.99"
NOBODY = "10.77.0.250"


def start(lab: Lab, source: str = "transparent", *, servers: int = 1, **service_keys: Any) -> None:
    """An engine with one IPv4 service over the first servers."""
    config = configuration(lab.topology, source, **service_keys)
    config["service"] = config["service"][:1]
    config["service"][0]["real_server"] = config["service"][0]["real_server"][:servers]
    lab.balancer.write(config)
    lab.balancer.start()


def alarm(lab: Lab, kind: str) -> Alarm | None:
    return next((alarm for alarm in lab.balancer.status().alarms if alarm.kind == kind), None)


def raised(lab: Lab, kind: str) -> Alarm:
    found = eventually(lambda: alarm(lab, kind), f"the alarm {kind}", timeout_s=15)
    assert found
    return found


def fails_to_connect(lab: Lab, client: str = "c1", profile: Profile = Profile.PSK) -> None:
    with pytest.raises(ViciError):
        lab.clients[client].connect(lab.vip[Family.IPV4], profile, timeout_s=9)


def events_of(lab: Lab, node: str, kind: str) -> list[str]:
    address = lab.topology.nodes[node].addresses[Family.IPV4]
    events = lab.balancer.ask(ListEvents(limit=1000))
    return [event.text for event in events if event.kind == kind and event.client == address]


@contextmanager
def rules(node: Node, text: str) -> Iterator[None]:
    """Have a machine's kernel do this to packets for a while."""
    node.namespace.run("nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        node.namespace.run("nft", "delete", "table", *text.split()[1:3])


def test_a_server_with_another_default_gateway_is_told_so(fresh_lab: Lab) -> None:
    lab = fresh_lab
    server = lab.topology.nodes["rs1"].namespace
    start(lab)
    server.ip(f"route replace default via {NOBODY}")
    try:
        fails_to_connect(lab)
        found = raised(lab, "no-replies")
    finally:
        server.ip(f"route replace default via {lab.topology.snat[0][Family.IPV4]}")
    assert found.text == "vpn-ipv4/rs1 answers nobody: 1 client has asked again and again and got no reply"
    assert found.remedy.startswith("the default gateway of rs1 is not this balancer: probes are answered")
    assert lab.balancer.server(Family.IPV4, "rs1").health == "up"
    lab.clients["c1"].connect(lab.vip[Family.IPV4])
    eventually(lambda: alarm(lab, "no-replies") is None, "the alarm ends with the first answer")


def test_a_server_that_answers_from_another_address_is_told_so(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab)
    answers = f"""table ip elsewhere {{
      chain out {{
        type filter hook output priority 0
        ip daddr {WAN.v4} udp sport {{ 500, 4500 }} ip saddr set {ELSEWHERE}
      }}
    }}"""
    with rules(lab.topology.nodes["rs1"], answers):
        # Through a NAT, which drops what its client did not ask for; the client's own daemon would take it.
        fails_to_connect(lab, "n1")
        found = raised(lab, "strange-replies")
    assert f"waits for rs1, but is answered by {ELSEWHERE}" in found.text
    assert found.remedy.startswith("have rs1 answer from 10.77.0.11, where it is asked")
    assert raised(lab, "no-replies").remedy.startswith(f"it does answer, but from {ELSEWHERE}")
    assert events_of(lab, "nat", "strange-replies")


def test_in_snat_mode_an_answer_from_another_address_is_overheard(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab, "snat")
    # What has a responder's SPI answers clients, not probes.
    answers = f"""table ip elsewhere {{
      chain out {{
        type filter hook output priority 0
        ip daddr {LAN.v4} udp sport 500 @th,128,64 != 0 ip saddr set {ELSEWHERE}
      }}
    }}"""
    with rules(lab.topology.nodes["rs1"], answers):
        # The engine listens once the first attempt has shown that the server answers nobody.
        fails_to_connect(lab)
        fails_to_connect(lab)
        found = raised(lab, "strange-replies")
    assert f"waits for rs1, but is answered by {ELSEWHERE}: such answers are lost at this balancer" in found.text
    assert raised(lab, "no-replies").remedy.startswith(f"it does answer, but from {ELSEWHERE}")


def test_an_ike_auth_in_ip_fragments_names_who_has_to_enable_ike_fragmentation(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab)
    lab.clients["c1"].connect(lab.vip[Family.IPV4], Profile.BIG_CERT)
    found = raised(lab, "auth-fragmented")
    assert "bytes and travels in IP fragments, 2 times lately: where a firewall drops fragments" in found.text
    assert found.remedy.startswith("enable IKEv2 fragmentation at the client, which does not offer it")
    assert lab.balancer.service(Family.IPV4).violations == {"auth-fragmented": 2}
    assert events_of(lab, "c1", "auth-fragmented")
    lab.tidy()
    lab.clients["c2"].connect(lab.vip[Family.IPV4], Profile.CERT)
    assert lab.balancer.service(Family.IPV4).violations == {"auth-fragmented": 2}


def test_fragments_that_are_lost_on_the_way_are_told(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.topology.nodes["lb"].namespace.run("sysctl", "-qw", "net.ipv4.ipfrag_time=1")
    start(lab)
    firewall = """table netdev firewall {
      chain out {
        type filter hook egress device eth0 priority 0
        ip frag-off & 0x1fff != 0 drop
      }
    }"""
    with rules(lab.topology.nodes["c1"], firewall):
        fails_to_connect(lab, profile=Profile.BIG_CERT)
        found = raised(lab, "fragments-lost")
    assert "clients see error 809" in found.text


def test_ports_that_are_not_followed_are_told_with_both_servers(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab, servers=2, port_following=False, persistence="none", scheduler="round-robin")
    fails_to_connect(lab)
    found = raised(lab, "ports-split")
    assert "on port 500, but rs" in found.text
    assert found.remedy.startswith("set port_following = true in vpn-ipv4")
    assert events_of(lab, "c1", "ports-split")


def test_nothing_is_violated_when_ports_are_followed(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab, servers=3, persistence="none", scheduler="round-robin")
    for client in lab.clients.values():
        client.connect(lab.vip[Family.IPV4], Profile.CERT)
        client.rekey("ike")
        client.await_data()
    assert lab.balancer.service(Family.IPV4).violations == {}


def test_a_client_that_is_silent_for_longer_than_nat_t_idle_is_told(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab, timeouts={"nat_t_idle": "2s", "ike_idle": "2s"})
    client = lab.clients["c1"]
    client.connect(lab.vip[Family.IPV4], Profile.CERT)
    eventually(lambda: [row.phase for row in lab.balancer.sessions()] == ["idle"], "the tunnel sleeps")
    client.rekey("child")
    found = raised(lab, "idle-too-short")
    assert "its flow was forgotten after 2s" in found.text
    assert found.remedy.startswith("set timeouts.nat_t_idle of vpn-ipv4 to ")
    assert raised(lab, "timeouts-contradict").text.startswith("vpn-ipv4: timeouts.nat_t_idle of 2s is shorter than two")


def test_a_tunnel_that_the_engine_finds_when_it_starts_is_counted(fresh_lab: Lab) -> None:
    lab = fresh_lab
    start(lab)
    client = lab.clients["c1"]
    # A server that asks whether its client lives would have the engine see IKE first.
    client.connect(lab.vip[Family.IPV4], Profile.CERT)
    client.await_data()
    lab.balancer.stop()
    lab.balancer.forget_state()
    lab.balancer.start()
    client.await_data()
    assert lab.balancer.service(Family.IPV4).violations == {"esp-before-ike": 1}
    assert "went to rs1 on a guess" in eventually(lambda: events_of(lab, "c1", "esp-before-ike"), "the event")[0]
    assert alarm(lab, "esp-before-ike") is None
