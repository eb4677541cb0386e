"""The ICMP probe: its messages, and an echo on loopback where this machine permits one."""

from __future__ import annotations

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP

from engine.config.schema import Duration, Health, HealthKind
from engine.health import icmp
from engine.health.result import ProbeTarget

HEALTH = Health(type=HealthKind.ICMP, timeout_s=Duration(2))
TOKEN = bytes(range(16))


def permitted(kind: socket.SocketKind) -> bool:
    try:
        socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
    except PermissionError:
        return False
    return True


def reply(identifier: int = 7, token: bytes = TOKEN, kind: int = 0) -> bytes:
    return bytes([kind, 0, 0, 0]) + identifier.to_bytes(2) + b"\x00\x01" + token


def test_request_is_what_scapy_reads() -> None:
    """Our echo request has the checksum that an independent implementation computes."""
    request = icmp.echo_request(socket.AF_INET, 0xBEEF, TOKEN)
    read = ICMP(request)
    assert (read.type, read.code, read.id, read.seq, bytes(read.payload)) == (8, 0, 0xBEEF, 1, TOKEN)
    del read.chksum
    assert bytes(read) == request


def test_only_the_reply_to_our_request_counts() -> None:
    """Identifier, token and type must all be ours; another ping on the same machine does not count."""
    assert icmp.is_reply(socket.AF_INET, reply(), 7, TOKEN)
    assert not icmp.is_reply(socket.AF_INET, reply(identifier=8), 7, TOKEN)
    assert not icmp.is_reply(socket.AF_INET, reply(token=bytes(16)), 7, TOKEN)
    assert not icmp.is_reply(socket.AF_INET, reply(kind=8), 7, TOKEN)
    assert not icmp.is_reply(socket.AF_INET6, reply(), 7, TOKEN)
    assert icmp.is_reply(socket.AF_INET6, reply(kind=129), 7, TOKEN)


@given(packet=st.binary(max_size=80))
def test_any_bytes_are_read_without_an_error(packet: bytes) -> None:
    """Nothing that arrives on a raw socket raises, and random bytes are no reply."""
    assert not icmp.is_reply(socket.AF_INET, icmp.without_ip_header(packet), 7, TOKEN)


def test_ip_header_with_options_is_stripped() -> None:
    """A raw socket's packet is read behind the IPv4 header, however long that is."""
    for options in (b"", b"\x01\x01\x01\x00"):
        packet = bytes(IP(src="192.0.2.1", dst="192.0.2.2", proto=1, ihl=5 + len(options) // 4, options=[]))
        assert icmp.without_ip_header(packet[:20] + options + reply()) == reply()


@pytest.mark.trio
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.skipif(
    not (permitted(socket.SOCK_DGRAM) or permitted(socket.SOCK_RAW)), reason="this user may send no ping"
)
async def test_loopback_answers(address: str) -> None:
    """The machine's own address answers, over IPv4 and IPv6."""
    result = await icmp.probe(ProbeTarget("rs1", address, 0, None), HEALTH)
    assert (result.ok, result.reason) == (True, "answers ping")
    assert result.rtt_s is not None


@pytest.mark.trio
async def test_missing_permission_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither kind of socket is permitted the reason names both ways out."""
    tried: list[object] = []

    def forbid(family: object, kind: object, protocol: object) -> None:
        tried.append(kind)
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(trio.socket, "socket", forbid)
    result = await icmp.probe(ProbeTarget("rs1", "127.0.0.1", 0, None), HEALTH)
    assert tried == [socket.SOCK_DGRAM, socket.SOCK_RAW]
    assert not result.ok
    assert "CAP_NET_RAW" in result.reason
    assert "net.ipv4.ping_group_range" in result.reason
