"""What advice is drawn from is read off a running engine, its clients and its servers."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from running_engine import CLIENT, OTHER_CLIENT, refused, service, until, world
from vpn_peers import address

from engine.advise.facts import Fragmentation
from engine.advise.observe import fragmentation_of
from engine.control.records import Advice
from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.notifies import NotifyType
from ikeconsole.demo.tunnel import Tunnel

PLAIN = build_message([nonce_payload(bytes(16))], spi_i=1)
FRAGMENTING = build_message(
    [nonce_payload(bytes(16)), notify_payload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)], spi_i=1
)


def topics(advices: list[Advice]) -> dict[str, Advice]:
    return {one.topic: one for one in advices}


@pytest.mark.parametrize(
    ("greetings", "known"),
    [
        ([], Fragmentation.UNKNOWN),
        ([(PLAIN, PLAIN)], Fragmentation.CLIENT_LACKS),
        ([(FRAGMENTING, FRAGMENTING)], Fragmentation.BOTH),
        ([(FRAGMENTING, PLAIN)], Fragmentation.SERVER_LACKS),
        ([(FRAGMENTING, PLAIN), (PLAIN, PLAIN)], Fragmentation.SERVER_LACKS),
        ([(FRAGMENTING, PLAIN), (FRAGMENTING, FRAGMENTING)], Fragmentation.BOTH),
    ],
)
def test_a_server_is_judged_by_what_it_told_the_latest_client_that_offered_fragmentation(
    greetings: list[tuple[bytes, bytes]], known: Fragmentation
) -> None:
    assert fragmentation_of(greetings) is known


@pytest.mark.trio
async def test_clients_on_one_source_address_are_counted_by_server(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a", health={"type": "ike"}), servers="a") as w:
        await w.connected(CLIENT)
        await w.connected(OTHER_CLIENT)
        before = topics(await w.engine.operations.advice("", ""))["source-limit"]
        assert before.severity == "well"
        assert before.why.startswith("At most 2 sessions of a come from 127.")
        for host in range(110, 115):
            await w.connected(address(host))
        crowded = topics(await w.engine.operations.advice("vpn", "a"))["source-limit"]
        assert (crowded.severity, crowded.server) == ("consider", "a")
        assert crowded.why.startswith("7 sessions of a come from 127.")


@pytest.mark.trio
async def test_a_handshake_that_passes_shows_what_its_server_agrees_to(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a", health={"type": "ike"}), servers="a") as w:
        assert "fragmentation" not in topics(await w.engine.operations.advice("", ""))
        await w.connected(CLIENT)
        assert topics(await w.engine.operations.advice("", ""))["fragmentation"].severity == "well"


@pytest.mark.trio
async def test_an_office_is_found_by_its_address(tmp_path: Path) -> None:
    async with world(tmp_path, service(health={"type": "ike"})) as w:
        for _ in range(20):
            await w.client(CLIENT).init()
        advice = topics(await w.engine.operations.advice("vpn", ""))["office"]
        assert advice.why.startswith(f"{CLIENT} alone has 20 of 20 sessions, on ")


@pytest.mark.trio
async def test_a_tunnel_begun_on_the_nat_t_flow_of_another_is_a_reauthentication(tmp_path: Path) -> None:
    async with world(tmp_path, service(health={"type": "ike"})) as w:
        clients = [await w.connected(address(host)) for host in range(110, 115)]
        assert "reauthentication" not in topics(await w.engine.operations.advice("", ""))
        for client in clients:
            await client.send(NON_ESP_MARKER + Tunnel(Random(client.host), ()).init_request())
        await until(lambda: w.engine.service().sessions == 2 * len(clients))
        told = topics(await w.engine.operations.advice("", ""))["reauthentication"]
        assert told.why.startswith("5 sessions began on port ")


@pytest.mark.trio
async def test_advice_is_on_what_was_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path, service(port_following=False, health={"type": "icmp"})) as w:
        operations = w.engine.operations
        await w.connected(CLIENT)
        await w.connected(OTHER_CLIENT)
        assert {"port-following", "probe"} <= set(topics(await operations.advice("vpn", "")))
        (of_b,) = {one.server for one in await operations.advice("vpn", "b")}
        assert of_b == "b"
        with refused("not-found", "no service 'x'"):
            await operations.advice("x", "")
        with refused("not-found", "no real server 'x'"):
            await operations.advice("vpn", "x")
