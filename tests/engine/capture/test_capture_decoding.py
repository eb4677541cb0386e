"""What a captured message is said to be."""

from __future__ import annotations

import pytest
from captured_messages import FRAGMENT, INIT, LIVENESS, REFUSAL, SPI_I, WINDOWS
from hypothesis import example, given
from hypothesis import strategies as st
from wire.wire_pcap import CAPTURES, datagrams

from engine.capture.decoding import Decoded, decode
from engine.wire.build import build_message, notify_payload, sa_payload
from engine.wire.header import RESPONSE_FLAG
from engine.wire.notifies import NotifyType
from engine.wire.proposals import Proposal, Transform
from engine.wire.vendors import vendor_name


def line(decoded: Decoded) -> str:
    return " | ".join((decoded.exchange, decoded.kind, decoded.flags, decoded.spis, decoded.what))


def answer(notify_type: int, data: bytes) -> bytes:
    return build_message([notify_payload(notify_type, data)], spi_i=SPI_I, flags=RESPONSE_FLAG)


@pytest.mark.parametrize(
    ("data", "nat_t", "said"),
    [
        (
            INIT,
            False,
            "IKE_SA_INIT | request 0 | I | 4f2a91c0/0 | SA(aes256gcm16-prfsha384-ecp384) KE(ecp384) NONCE(32 bytes) "
            f"N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP) V({vendor_name([WINDOWS])})",
        ),
        (FRAGMENT, True, "IKE_AUTH | request 1 | I | 4f2a91c0/91b2c00d | SKF encrypted, fragment 2 of 5"),
        (LIVENESS, True, "INFORMATIONAL | answer 7 | IR | 4f2a91c0/91b2c00d | SK encrypted"),
        (
            answer(NotifyType.INVALID_KE_PAYLOAD, b"\0\x14"),
            False,
            "IKE_SA_INIT | answer 0 | R | 4f2a91c0/0 | "
            "N(INVALID_KE_PAYLOAD: it wants key exchange group ecp384: the client tries again)",
        ),
        (
            answer(NotifyType.COOKIE, bytes(24)),
            False,
            "IKE_SA_INIT | answer 0 | R | 4f2a91c0/0 | N(COOKIE: 24 bytes)",
        ),
        (
            build_message([(33, b"x")], spi_i=SPI_I),
            False,
            "IKE_SA_INIT | request 0 | I | 4f2a91c0/0 | "
            "unreadable: bad-payload: an SA payload ends within a proposal or transform",
        ),
        (b"\0\0\0\0\1", True, "not IKE |  |  |  | runt: an IKE header takes 28 bytes, here are 1"),
        (b"", True, "not IKE |  |  |  | runt: an IKE header takes 28 bytes, here are 0"),
    ],
    ids=["init", "fragment", "liveness", "wrong-group", "cookie", "bad-payload", "runt", "nothing"],
)
def test_a_message_in_words(data: bytes, nat_t: bool, said: str) -> None:
    assert line(decode(data, nat_t)) == said


def test_an_error_is_told_with_its_meaning() -> None:
    name, _, meaning = decode(REFUSAL, False).what.partition(": ")
    assert name == "N(NO_PROPOSAL_CHOSEN"
    assert "algorithms" in meaning


def test_many_proposals_are_counted_and_a_long_one_is_cut() -> None:
    long = Proposal(1, tuple(Transform(1, 12, bits) for bits in range(100, 200)))
    one = decode(build_message([sa_payload(long)], spi_i=SPI_I), False)
    assert one.what == "SA(aes100-aes101-aes102-aes103-aes104-aes105-aes106-aes107-aes1…)"
    assert decode(build_message([sa_payload(long, long)], spi_i=SPI_I), False).what == "SA(2 proposals)"


def test_everything_that_real_peers_sent_can_be_read() -> None:
    seen = set()
    for path in sorted(CAPTURES.glob("*.pcap")):
        for datagram in datagrams(path):
            if datagram.nat_t and datagram.payload[:4] != bytes(4):
                continue
            decoded = decode(datagram.payload, datagram.nat_t)
            assert decoded.message_id is not None
            assert "unreadable" not in decoded.what
            seen.add(decoded.exchange)
    assert seen >= {"IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA", "INFORMATIONAL"}


@given(data=st.binary(max_size=200), nat_t=st.booleans(), well_begun=st.booleans())
@example(data=b"", nat_t=True, well_begun=True)
def test_whatever_comes_is_one_printable_line(data: bytes, nat_t: bool, well_begun: bool) -> None:
    decoded = decode(FRAGMENT[:20] + data if well_begun else data, nat_t)
    assert line(decoded).isprintable()
