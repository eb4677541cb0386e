"""The client's end of a simulated tunnel behaves as a client that a balancer has to cope with."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from ikeconsole.demo.messages import Purpose
from ikeconsole.demo.responder import VpnServer
from ikeconsole.demo.tunnel import Heard, Tunnel

VENDOR = b"a vendor id"


def make_tunnel(seed: int = 2) -> Tunnel:
    return Tunnel(Random(seed), [VENDOR])


def test_the_first_message_names_the_vendor_and_offers_what_servers_accept() -> None:
    message = parse_message(make_tunnel().init_request())
    assert message.vendor_ids == (VENDOR,)
    assert [proposal.name for proposal in message.proposals] == ["aes128gcm16-prfsha256-x25519"]
    assert message.header.spi_r == 0


def test_a_retransmission_is_the_same_message() -> None:
    tunnel = make_tunnel()
    assert tunnel.init_request() == tunnel.init_request()


def test_after_a_cookie_demand_the_cookie_stands_first_in_an_otherwise_equal_message() -> None:
    server = VpnServer(Random(1), demands_cookies=True)
    tunnel = make_tunnel()
    before = tunnel.init_request()
    (answer,) = server.answer(before, nat_t=False)
    assert tunnel.hear_init(answer) is Heard.COOKIE
    after = tunnel.init_request()
    assert parse_message(after).notifies[0].type == NotifyType.COOKIE
    assert after.endswith(before[28:])
    (answer,) = server.answer(after, nat_t=False)
    assert tunnel.hear_init(answer) is Heard.ANSWER
    assert tunnel.spi_r != 0


def test_ike_on_the_nat_t_port_carries_both_spis_after_the_marker() -> None:
    tunnel = make_tunnel()
    tunnel.spi_r = 5
    request = tunnel.request(Purpose.AUTHENTICATE, size_bytes=2400)
    assert request.startswith(NON_ESP_MARKER)
    message = parse_message(request[len(NON_ESP_MARKER) :])
    assert (message.header.spi_i, message.header.spi_r, message.header.message_id) == (tunnel.spi_i, 5, 1)
    assert len(request) == 2404


def test_answers_to_others_and_answers_that_come_late_mean_nothing() -> None:
    server = VpnServer(Random(1))
    tunnel, other = make_tunnel(2), make_tunnel(3)
    (answer,) = server.answer(tunnel.init_request(), nat_t=False)
    assert other.hear_init(answer) is Heard.NOTHING
    assert tunnel.hear_init(answer) is Heard.ANSWER
    (late,) = server.answer(tunnel.request(Purpose.AUTHENTICATE), nat_t=True)
    tunnel.request(Purpose.CHECK_LIVENESS)
    assert tunnel.hear(late) is Heard.NOTHING


@pytest.mark.parametrize("port", ["ike", "nat-t"])
@given(datagram=st.binary(max_size=200))
def test_no_datagram_makes_it_stumble(port: str, datagram: bytes) -> None:
    tunnel = make_tunnel()
    assert (tunnel.hear_init if port == "ike" else tunnel.hear)(datagram) is Heard.NOTHING
