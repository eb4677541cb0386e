"""A real server that demands a cookie of its own behind a balancer that does so, too: the client is asked by both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import Family

pytestmark = pytest.mark.e2e

DEMANDED = "parsed IKE_SA_INIT response 0 [ N(COOKIE) ]"
SERVER_DEMANDS = "generating IKE_SA_INIT response 0 [ N(COOKIE) ]"


@pytest.fixture
def wary_lab(fresh_lab: Lab) -> Iterator[Lab]:
    """The lab with a first server that demands cookies as long as it has one half-open IKE_SA."""
    charon = fresh_lab.servers["rs1"].charon
    usual = charon.settings.read_text()
    charon.kill()
    charon.settings.write_text(usual.replace("threads = 16", "threads = 16\n  cookie_threshold = 1"))
    fresh_lab.servers["rs1"].start()
    yield fresh_lab
    charon.kill()
    charon.settings.write_text(usual)
    fresh_lab.servers["rs1"].start()


@pytest.mark.parametrize("fast_path", ["off", "auto"])
@pytest.mark.parametrize("source", ["transparent", "snat"])
def test_the_client_brings_one_cookie_after_the_other(wary_lab: Lab, source: str, fast_path: str) -> None:
    """The server's cookie passes the balancer, which did not give it: its IKE SA is known by then."""
    lab, client = wary_lab, wary_lab.clients["c1"]
    config = configuration(lab.topology, source, cookie_challenge="always")
    for service in config["service"]:
        del service["real_server"][1:]
    lab.balancer.write({**config, "engine": {"fast_path": fast_path}})
    lab.balancer.start()
    server = lab.servers["rs1"]
    # It begins an IKE_SA and goes away.
    lab.topology.nodes["lb"].namespace.run(
        "ike-scan", "--ikev2", "--retry=1", "--sport=0", server.node.addresses[Family.IPV4]
    )
    asked = client.charon.log.read_text().count(DEMANDED)
    client.connect(lab.vip[Family.IPV4], Profile.CERT)
    client.await_data()
    assert client.charon.log.read_text().count(DEMANDED) == asked + 2
    assert SERVER_DEMANDS in server.charon.log.read_text()
    challenge = lab.balancer.service(Family.IPV4).challenge
    assert (challenge.accepted, challenge.refused) == (1, 0)
