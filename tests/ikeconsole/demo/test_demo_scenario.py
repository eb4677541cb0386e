"""The demo's stage: its configuration is valid, its ports are free, its troubles come and go."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from engine.config.load import load
from engine.net.sockets import BindError, listener
from engine.wire.vendors import vendor_name
from ikeconsole.demo import layout as layout_module
from ikeconsole.demo.layout import REAL_SERVER_ADDRESSES, SERVICE_ADDRESSES, Layout, choose_ports, client_addresses
from ikeconsole.demo.responder import Responder, VpnServer
from ikeconsole.demo.scenario import (
    CLIENTS,
    FAILING_IN_TURN,
    FAILURE_LASTS_S,
    FIRST_FAILURE_AFTER_S,
    PEACE_LASTS_S,
    bring_trouble,
    draw_habits,
)


def test_the_configuration_is_valid_and_has_every_real_server(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 10500, 14500)
    layout.write_configuration()
    config = load(layout.config_file).config
    found = {s.name: {r.name: str(r.address) for r in s.real_servers} for s in config.services}
    assert found == REAL_SERVER_ADDRESSES
    assert [(s.ike_port, s.nat_t_port) for s in config.services] == [(10500, 14500)] * 2
    assert config.engine.control_socket == str(layout.control_socket)


def test_who_looks_for_ten_seconds_sees_an_alarm(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 10500, 14500)
    layout.write_configuration()
    for service in load(layout.config_file).config.services:
        health = service.health
        assert FIRST_FAILURE_AFTER_S + health.fall * (health.interval_s + health.timeout_s) < 10


def test_a_second_demo_takes_other_ports() -> None:
    ike_port, nat_t_port = choose_ports()
    with listener(SERVICE_ADDRESSES["partners"], nat_t_port):
        assert choose_ports() > (ike_port, nat_t_port)


def test_without_any_free_port_it_says_which_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ike_port, nat_t_port = choose_ports()
    monkeypatch.setattr(layout_module, "_PORT_BASES", [ike_port - 500])
    with (
        listener(SERVICE_ADDRESSES["partners"], nat_t_port),
        pytest.raises(BindError, match=f"no free pair.*127.0.0.12 port {nat_t_port} is taken"),
    ):
        choose_ports()


def test_client_addresses_are_of_loopback_and_differ() -> None:
    addresses = client_addresses()
    drawn = [next(addresses) for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert all(address.startswith("127.0.1") for address in drawn)


def test_the_clients_are_recognised_by_their_vendor_ids_and_some_roam() -> None:
    rng = Random(1)
    habits = [draw_habits(rng) for _ in range(100)]
    assert {vendor_name(each.vendor_ids) for each in habits} == {
        "Windows 8+ (MS NT5 ISAKMPOAKLEY v9)",
        "strongSwan",
        "",
    }
    assert 5 < sum(each.roam_s < 60 for each in habits) < 50


def test_every_service_has_clients_and_every_real_server_its_turn_to_fail() -> None:
    assert CLIENTS.keys() == REAL_SERVER_ADDRESSES.keys()
    assert set(FAILING_IN_TURN) == {name for servers in REAL_SERVER_ADDRESSES.values() for name in servers}


@pytest.mark.trio
async def test_one_server_at_a_time_fails_and_comes_back(autojump_clock: MockClock) -> None:
    responders = {name: Responder("127.0.0.1", 0, 0, VpnServer(Random(1))) for name in FAILING_IN_TURN}

    def failed() -> list[str]:
        return [name for name, responder in responders.items() if responder.failed]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring_trouble, responders)
        await trio.sleep(FIRST_FAILURE_AFTER_S - 1)
        assert failed() == []
        for name in (*FAILING_IN_TURN, FAILING_IN_TURN[0]):
            await trio.sleep(2)
            assert failed() == [name]
            await trio.sleep(FAILURE_LASTS_S)
            assert failed() == []
            await trio.sleep(PEACE_LASTS_S - 2)
        nursery.cancel_scope.cancel()
