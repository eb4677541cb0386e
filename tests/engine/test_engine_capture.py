"""A capture of a running engine: what passed between a client and its real server, as both saw it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest
import trio
from running_engine import CLIENT, HOSTS, OTHER_CLIENT, VPN, World, real_server, service, until, world
from scapy.layers.inet import IP, UDP
from scapy.utils import rdpcap
from vpn_peers import IKE_PORT, NAT_T_PORT

from engine.capture.captures import MAX_CAPTURES
from engine.capture.decoding import decode
from engine.capture.pcap import Side, file_header, record
from engine.control import calls
from engine.control.api import Refused
from engine.control.captured import Captured, CapturedMessage
from ikeconsole.client import connect


class Capturing:
    """A capture that is read along with what the test does."""

    def __init__(self) -> None:
        self.messages: list[CapturedMessage] = []
        self.ended = ""

    async def follow(self, directory: Path, call: calls.Capture) -> None:
        async with connect(directory / "control.sock") as control, aclosing(control.capture(call)) as batches:
            async for captured in batches:
                self.take(captured)

    def take(self, captured: Captured) -> None:
        self.messages += captured.messages
        self.ended = captured.ended

    def lines(self) -> list[str]:
        found = []
        for message in self.messages:
            decoded = decode(message.data, message.port == "nat-t")
            found.append(f"{message.direction} {decoded.exchange} {decoded.kind} {message.dropped}".strip())
        return found


@asynccontextmanager
async def capturing(w: World, directory: Path, client: str = CLIENT, messages: int = 1_000) -> AsyncIterator[Capturing]:
    """A capture that runs until the block is left."""
    capture = Capturing()
    running = w.engine.operations._forwarder.captures.running
    before = len(running)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.follow, directory, calls.Capture(client=client, messages=messages))
        await until(lambda: len(running) == before + 1)
        yield capture
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_every_ike_message_of_a_client_is_captured_and_no_esp(tmp_path: Path) -> None:
    async with world(tmp_path) as w, capturing(w, tmp_path) as capture:
        await w.connected(OTHER_CLIENT)
        client = await w.connected()
        await client.echo()
        assert await client.is_known()
        await until(lambda: len(capture.messages) >= 6)
        assert capture.lines() == [
            "in IKE_SA_INIT request 0",
            "out IKE_SA_INIT answer 0",
            "in IKE_AUTH request 1",
            "out IKE_AUTH answer 1",
            "in INFORMATIONAL request 2",
            "out INFORMATIONAL answer 2",
        ]
        assert [message.number for message in capture.messages] == [1, 2, 3, 4, 5, 6]
        assert {message.client.partition(":")[0] for message in capture.messages} == {CLIENT}


@pytest.mark.trio
async def test_either_side_of_the_balancer_is_seen_with_its_own_addresses(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a")) as w, capturing(w, tmp_path) as capture:
        await w.connected()
        await until(lambda: len(capture.messages) >= 4)
        detail = await w.engine.session(w.client())
        source, port = next(flow.source for flow in detail.flows if flow.port == "nat-t").rsplit(":", 1)

        def ends(side: Side) -> list[tuple[str, str, int]]:
            packets = rdpcap(BytesIO(file_header() + b"".join(record(one, side) for one in capture.messages)))
            return [(packet[IP].src, packet[IP].dst, packet[UDP].dport) for packet in packets]

        client_side, server_side = ends(Side.CLIENT), ends(Side.SERVER)
        assert [end[:2] for end in client_side] == [(CLIENT, VPN), (VPN, CLIENT)] * 2
        assert [end[2] for end in client_side[::2]] == [IKE_PORT, NAT_T_PORT]
        assert server_side[2:] == [(source, HOSTS["a"], NAT_T_PORT), (HOSTS["a"], source, int(port))]


@pytest.mark.trio
async def test_what_is_turned_away_is_captured_with_the_reason(tmp_path: Path) -> None:
    nowhere = service(servers="") | {"real_server": [real_server("a", state="disabled")]}
    async with world(tmp_path, nowhere) as w, capturing(w, tmp_path) as capture:
        client = w.client()
        await client.send_init()
        await client.send(b"\0\0\0\0garbage")
        await client.send(b"\x11\x22\x33\x44 some ESP that nobody asked about")
        await client.send(b"\xff")
        await client.send(b"\0\0")
        await until(lambda: sum(w.engine.service().drops.values()) == 5)
        await until(lambda: len(capture.messages) >= 3)
        (reason,) = {reason for reason in w.engine.service().drops if "server" in reason}
        assert sorted(capture.lines()) == [
            f"in IKE_SA_INIT request 0 {reason}",
            "in not IKE  runt",
            "in not IKE  runt",
        ]
        assert {message.server for message in capture.messages} == {""}


@pytest.mark.trio
async def test_it_ends_at_its_limit_and_the_connection_can_be_used_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w, connect(tmp_path / "control.sock") as control:
        capture = Capturing()
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async with aclosing(control.capture(calls.Capture(client=CLIENT, messages=3))) as batches:
                    async for captured in batches:
                        capture.take(captured)

            nursery.start_soon(read)
            await w.engine.event("capture-began")
            await w.connected()
        assert [message.number for message in capture.messages] == [1, 2, 3]
        assert capture.ended == "3 messages captured: its limit"
        assert (await control.status()).sessions == 1
        last = [one async for one in control.capture(calls.Capture(client=CLIENT, seconds=0.05))]
        assert last[-1].ended == "0 s are over: its limit"


@pytest.mark.trio
async def test_a_capture_ends_with_its_connection_and_makes_room(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        running = w.engine.operations._forwarder.captures.running
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_CAPTURES):
                nursery.start_soon(Capturing().follow, tmp_path, calls.Capture(client=CLIENT))
            await until(lambda: len(running) == MAX_CAPTURES)
            async with connect(tmp_path / "control.sock") as control:
                with pytest.raises(Refused, match="4 captures run already"):
                    [one async for one in control.capture(calls.Capture(client=CLIENT))]
            nursery.cancel_scope.cancel()
        await until(lambda: not running)
        await w.connected()
        assert w.engine.operations._forwarder.captures.running == []


@pytest.mark.trio
async def test_the_events_say_who_captures_whom(tmp_path: Path) -> None:
    async with world(tmp_path) as w, capturing(w, tmp_path, f"{CLIENT}/32"):
        event = await w.engine.event("capture-began")
        assert (event.severity, event.client) == ("notice", f"{CLIENT}/32")
        assert event.text.endswith(f"captures IKE messages of {CLIENT}/32")


@pytest.mark.trio
@pytest.mark.parametrize("client", ["", "client", "198.51.100.300", "198.51.100.7/33"])
async def test_what_is_no_address_is_refused(tmp_path: Path, client: str) -> None:
    async with world(tmp_path), connect(tmp_path / "control.sock") as control:
        with pytest.raises(Refused, match="is no address"):
            [one async for one in control.capture(calls.Capture(client=client))]
        assert (await control.status()).sessions == 0
