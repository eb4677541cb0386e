"""What real IKE daemons refuse, as the operator is told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.peers import IKE_PROPOSALS, Profile
from harness.plan import Family
from harness.vici import ViciError
from harness.waiting import eventually

from engine.control.calls import GetSession
from engine.control.records import SessionDetail

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def _engine(lab: Lab) -> Iterator[None]:
    lab.balancer.write(configuration(lab.topology, "transparent"))
    lab.balancer.start()
    yield
    lab.balancer.stop()


@pytest.fixture(autouse=True)
def _tidy(lab: Lab) -> Iterator[None]:
    yield
    lab.tidy()


def only(lab: Lab, *filters: str) -> SessionDetail | None:
    rows = lab.balancer.sessions(*filters)
    return lab.balancer.ask(GetSession(number=rows[0].id)) if len(rows) == 1 else None


def found(lab: Lab, *filters: str) -> SessionDetail:
    """The one session that a filter finds, once it does."""
    detail = eventually(partial(only, lab, *filters), f"one session meets {filters}")
    assert detail
    return detail


def test_algorithms_that_the_server_does_not_take(lab: Lab) -> None:
    with pytest.raises(ViciError):
        lab.clients["c1"].connect(lab.vip[Family.IPV4], proposals=["aes256-sha512-modp4096"], timeout_s=1)
    detail = found(lab, "error:no_proposal_chosen", "phase:init")
    assert detail.trouble is not None
    assert (detail.trouble.name, detail.trouble.direction) == ("NO_PROPOSAL_CHOSEN", "out")


def test_another_key_exchange_group_is_an_error_that_the_client_gets_over(lab: Lab) -> None:
    lab.clients["c1"].connect(lab.vip[Family.IPV4], proposals=["aes128gcm16-prfsha256-ecp256", *IKE_PROPOSALS])
    detail = found(lab, "error:invalid_ke_payload", "phase:established")
    assert detail.trouble is not None
    assert detail.trouble.meaning == "it wants key exchange group x25519: the client tries again"
    assert (detail.retransmitted_in, detail.retransmitted_out) == (0, 0)
    assert detail.handshake_s is not None
    assert detail.handshake_s < 2
    server = lab.balancer.server(Family.IPV4, detail.row.server)
    assert server.handshakes >= 1


def test_an_identity_that_the_server_does_not_know_is_probably_refused(lab: Lab) -> None:
    with pytest.raises(ViciError):
        lab.clients["c1"].connect(lab.vip[Family.IPV4], Profile.CERT, identity="c1@nowhere.test", timeout_s=1)
    detail = found(lab, "error:auth", "phase:auth")
    assert detail.row.error == "IKE_AUTH refused?"
    assert detail.trouble is not None
    assert detail.trouble.direction == "out"


def test_strongswan_does_not_say_what_it_is(lab: Lab) -> None:
    lab.clients["c2"].connect(lab.vip[Family.IPV4])
    assert found(lab, "vendor:-", "phase:established").vendor == ""
    assert "client   no vendor named" in lab.balancer.command("explain", lab.clients["c2"].node.addresses[Family.IPV4])
