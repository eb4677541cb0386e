"""The balancer's COOKIE challenge before real IKE daemons: clients prove their address, servers take the repetition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from harness.balancer import configuration, service_name
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import Family

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))
DEMANDED = "parsed IKE_SA_INIT response 0 [ N(COOKIE) ]"
REPEATED = re.compile(r"parsed IKE_SA_INIT request 0 \[ N\(COOKIE\) SA KE No")


@pytest.fixture(scope="module", params=["transparent", "snat"])
def source(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """What the servers see, with an engine that asks every newcomer for a cookie by itself."""
    config = configuration(lab.topology, request.param, cookie_challenge="always")
    lab.balancer.write({**config, "engine": {"fast_path": "off"}})
    lab.balancer.start()
    yield request.param
    lab.balancer.stop()


@pytest.fixture(autouse=True)
def _tidy(source: str, lab: Lab) -> Iterator[None]:
    lab.watch()
    yield
    lab.tidy()


def repetitions(lab: Lab) -> dict[str, int]:
    """How many first messages with a cookie each server has read."""
    return {name: len(REPEATED.findall(server.charon.log.read_text())) for name, server in lab.servers.items()}


@families
@pytest.mark.parametrize("name", ["c1", "n1"])
def test_strongswan_connects_through_the_challenge(lab: Lab, family: Family, name: str) -> None:
    """The client repeats its first message with the balancer's cookie, the server takes that, and data passes."""
    client, counted, read = lab.clients[name], lab.balancer.service(family).challenge, repetitions(lab)
    demands = client.charon.log.read_text().count(DEMANDED)
    tunnel = client.connect(lab.vip[family], Profile.CERT)
    client.await_data()
    assert client.charon.log.read_text().count(DEMANDED) == demands + 1
    assert repetitions(lab) == read | {tunnel.server: read[tunnel.server] + 1}
    challenge = lab.balancer.service(family).challenge
    assert challenge.active
    assert (challenge.sent - counted.sent, challenge.accepted - counted.accepted) == (1, 1)
    assert challenge.refused == counted.refused


@families
def test_a_tunnel_is_not_asked_again_when_it_rekeys(lab: Lab, family: Family) -> None:
    """New SPIs within an IKE SA begin none; a client that connects anew is asked anew."""
    client = lab.clients["c2"]
    client.connect(lab.vip[family], Profile.CERT)
    client.await_data()
    before = lab.balancer.service(family).challenge
    client.rekey("ike")
    client.rekey("child")
    client.await_data()
    assert lab.balancer.service(family).challenge.sent == before.sent
    client.charon.close_all()
    client.connect(lab.vip[family], Profile.CERT)
    client.await_data()
    assert lab.balancer.service(family).challenge.accepted == before.accepted + 1


def test_what_was_asked_is_in_the_status(lab: Lab) -> None:
    """An operator sees that cookies are asked for, and that they come back."""
    lab.clients["c3"].connect(lab.vip[Family.IPV4], Profile.PSK)
    said = lab.balancer.command("status")
    assert re.search(rf"cookies of {service_name(Family.IPV4)}: demanded \(always\), \d+ sent, \d+ accepted", said)
