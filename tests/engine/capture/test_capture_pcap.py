"""What scapy, which shares no code with us, reads from the files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from captured_messages import AT, INIT, REFUSAL, captured
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from scapy.utils import rdpcap

from engine.capture.pcap import Side, file_header, record
from engine.control.captured import CapturedMessage

IPV6 = {
    "client": "[2001:db8:ffff::7]:500",
    "vip": "[2001:db8::500]:500",
    "source": "[2001:db8:10::1]:40001",
    "server_address": "[2001:db8:10::21]:500",
}


def packets(side: Side, *messages: CapturedMessage) -> list[Packet]:
    data = file_header() + b"".join(record(message, side) for message in messages)
    return list(rdpcap(BytesIO(data)))


def seen(packet: Packet) -> tuple[str, int, str, int]:
    ip = packet[IPv6] if IPv6 in packet else packet[IP]
    return ip.src, packet[UDP].sport, ip.dst, packet[UDP].dport


def payload(packet: Packet) -> bytes:
    return bytes(packet[UDP].payload)


ASKED = captured(1)
ANSWERED = captured(2, REFUSAL, direction="out")


def test_on_the_clients_side_packets_go_between_client_and_service() -> None:
    asked, answered = packets(Side.CLIENT, ASKED, ANSWERED)
    assert seen(asked) == ("198.51.100.7", 500, "203.0.113.10", 500)
    assert seen(answered) == ("203.0.113.10", 500, "198.51.100.7", 500)
    assert (payload(asked), payload(answered)) == (INIT, REFUSAL)
    assert float(asked.time) == pytest.approx(AT + 0.01, abs=1e-6)


def test_on_the_servers_side_packets_go_between_the_source_used_and_the_real_server() -> None:
    asked, answered = packets(Side.SERVER, ASKED, ANSWERED)
    assert seen(asked) == ("10.0.9.1", 40001, "10.0.0.11", 500)
    assert seen(answered) == ("10.0.0.11", 500, "10.0.9.1", 40001)


def test_ipv6_has_its_own_header() -> None:
    for side, addresses in (
        (Side.CLIENT, ("2001:db8:ffff::7", 500, "2001:db8::500", 500)),
        (Side.SERVER, ("2001:db8:10::1", 40001, "2001:db8:10::21", 500)),
    ):
        (packet,) = packets(side, captured(**IPV6))
        assert seen(packet) == addresses
        assert payload(packet) == INIT


def test_the_zone_of_a_link_local_address_is_left_out() -> None:
    (packet,) = packets(Side.CLIENT, captured(**IPV6 | {"client": "[fe80::7%eth0]:500"}))
    assert seen(packet)[0] == "fe80::7"


@pytest.mark.parametrize("size_bytes", [0, 1, 2, 28, 1471, 65_000])
@pytest.mark.parametrize("addresses", [{}, IPV6], ids=["IPv4", "IPv6"])
def test_lengths_and_checksums_are_those_that_scapy_would_write(size_bytes: int, addresses: dict[str, str]) -> None:
    data = Random(size_bytes).randbytes(size_bytes)
    (packet,) = packets(Side.CLIENT, captured(data=data, **addresses))
    again = packet.copy()
    del again[UDP].chksum, again[UDP].len
    if IP in again:
        del again[IP].chksum, again[IP].len
    else:
        del again[IPv6].plen
    assert (bytes(again) == bytes(packet), payload(packet) == data) == (True, True)


def test_a_checksum_that_comes_out_as_zero_is_written_as_all_ones() -> None:
    """Zero in the field says that there is none."""
    (packet,) = packets(Side.CLIENT, captured(data=b"\0\0"))
    (same,) = packets(Side.CLIENT, captured(data=packet[UDP].chksum.to_bytes(2)))
    assert same[UDP].chksum == 0xFFFF
    del same[UDP].chksum
    assert type(same)(bytes(same))[UDP].chksum == 0xFFFF


def test_what_was_dropped_is_on_the_side_where_it_came_in_alone() -> None:
    turned_away = captured(1, dropped="no-server", server="", server_address="", source="")
    refused = captured(2, REFUSAL, direction="out", dropped="from-server-bad-length")
    assert [payload(packet) for packet in packets(Side.CLIENT, turned_away, refused)] == [INIT]
    assert [payload(packet) for packet in packets(Side.SERVER, turned_away, refused)] == [REFUSAL]


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(file_header())
    assert list(rdpcap(str(path))) == []
    assert Raw not in rdpcap(str(path))
