"""The simulated real server answers what a real one answers, and nothing makes it stumble."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.encapsulation import NON_ESP_MARKER, esp_spi
from engine.wire.header import Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from engine.wire.probe import PROBE_KE_SIZE_BYTES, init_probe, read_answer, version_probe
from ikeconsole.demo import responder
from ikeconsole.demo.messages import Purpose
from ikeconsole.demo.responder import VpnServer
from ikeconsole.demo.tunnel import Heard, Tunnel


def make_server(*, demands_cookies: bool = False) -> VpnServer:
    return VpnServer(Random(1), demands_cookies=demands_cookies)


def established(server: VpnServer, seed: int = 2) -> Tunnel:
    """A tunnel that is set up with a server which wants no cookies."""
    tunnel = Tunnel(Random(seed), ())
    (answer,) = server.answer(tunnel.init_request(), nat_t=False)
    assert tunnel.hear_init(answer) is Heard.ANSWER
    (answer,) = server.answer(tunnel.request(Purpose.AUTHENTICATE), nat_t=True)
    assert tunnel.hear(answer) is Heard.ANSWER
    return tunnel


@pytest.mark.parametrize("nat_t", [False, True])
def test_a_version_probe_finds_it_alive_on_either_port(nat_t: bool) -> None:
    marker = NON_ESP_MARKER if nat_t else b""
    (answer,) = make_server().answer(marker + version_probe(7), nat_t=nat_t)
    assert answer.startswith(marker)
    verdict = read_answer(answer[len(marker) :], 7)
    assert (verdict.alive, verdict.detail) == (True, "INVALID_MAJOR_VERSION")


def test_an_init_probe_is_refused_and_leaves_nothing_behind() -> None:
    server = make_server()
    (answer,) = server.answer(init_probe(7, bytes(32), bytes(PROBE_KE_SIZE_BYTES)), nat_t=False)
    assert read_answer(answer, 7).detail == "NO_PROPOSAL_CHOSEN"
    assert server.ike_sas == 0


def test_a_repeated_first_message_gets_the_same_spi() -> None:
    server = make_server()
    request = Tunnel(Random(2), ()).init_request()
    first, second = (parse_message(server.answer(request, nat_t=False)[0]).header.spi_r for _ in range(2))
    assert first == second != 0
    assert server.ike_sas == 1


def test_no_state_is_made_before_the_cookie_comes_back() -> None:
    server = make_server(demands_cookies=True)
    (answer,) = server.answer(Tunnel(Random(2), ()).init_request(), nat_t=False)
    assert parse_message(answer).notify(NotifyType.COOKIE)
    assert server.ike_sas == 0


def test_esp_is_answered_under_the_spi_that_the_client_chose() -> None:
    server = make_server()
    tunnel = established(server)
    (answer,) = server.answer(tunnel.esp(100), nat_t=True)
    assert tunnel.hear(answer) is Heard.TRAFFIC


def test_esp_of_a_half_open_ike_sa_is_not_answered() -> None:
    server = make_server()
    tunnel = Tunnel(Random(2), ())
    (answer,) = server.answer(tunnel.init_request(), nat_t=False)
    tunnel.hear_init(answer)
    assert server.answer(tunnel.esp(100), nat_t=True) == []


def test_two_tunnels_do_not_get_each_others_esp() -> None:
    server = make_server()
    one, other = established(server, seed=2), established(server, seed=3)
    (answer,) = server.answer(one.esp(100), nat_t=True)
    assert other.hear(answer) is Heard.NOTHING


@pytest.mark.parametrize("end", ["restart", "delete"])
def test_a_tunnel_that_ended_gets_no_esp_and_an_error(end: str) -> None:
    server = make_server()
    tunnel = established(server)
    if end == "restart":
        server.forget()
    else:
        (answer,) = server.answer(tunnel.request(Purpose.DELETE), nat_t=True)
        assert tunnel.hear(answer) is Heard.ANSWER
    assert server.ike_sas == 0
    assert server.answer(tunnel.esp(100), nat_t=True) == []
    (answer,) = server.answer(tunnel.request(Purpose.CHECK_LIVENESS), nat_t=True)
    message = parse_message(answer[len(NON_ESP_MARKER) :])
    assert (message.header.exchange, message.notifies[0].name) == (Exchange.INFORMATIONAL, "INVALID_IKE_SPI")
    assert tunnel.hear(answer) is Heard.REFUSAL


def test_the_oldest_ike_sa_makes_room_for_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "MAX_IKE_SAS", 2)
    server = make_server()
    tunnels = [established(server, seed) for seed in range(3)]
    assert server.ike_sas == 2
    assert [len(server.answer(tunnel.esp(100), nat_t=True)) for tunnel in tunnels] == [0, 1, 1]


def test_keepalives_and_answers_are_not_answered() -> None:
    server = make_server()
    (answer,) = server.answer(version_probe(7), nat_t=False)
    assert server.answer(b"\xff", nat_t=True) == []
    assert server.answer(answer, nat_t=False) == []


@given(datagram=st.binary(max_size=200), nat_t=st.booleans())
def test_no_datagram_makes_it_stumble(datagram: bytes, nat_t: bool) -> None:
    make_server().answer(datagram, nat_t=nat_t)


@given(data=st.data(), purpose=st.sampled_from(Purpose))
def test_no_damage_to_a_message_makes_it_stumble(data: st.DataObject, purpose: Purpose) -> None:
    server = make_server()
    request = bytearray(established(server).request(purpose))
    at = data.draw(st.integers(0, len(request) - 1))
    request[at] = data.draw(st.integers(0, 255))
    for answer in server.answer(bytes(request), nat_t=True):
        assert answer.startswith(NON_ESP_MARKER) or esp_spi(answer)
