from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_pcap import CAPTURES, datagrams
from wire_strategies import header_fields, notifies, notify_payload_of, payload_lists, proposals

from engine.wire.build import (
    Payload,
    build_message,
    ke_payload,
    nonce_payload,
    notify_payload,
    sa_payload,
    vendor_payload,
)
from engine.wire.errors import WireError
from engine.wire.header import IKEV2, Exchange, IkeHeader
from engine.wire.notifies import Notify, NotifyType, notify_name, parse_notify
from engine.wire.payloads import (
    MAX_PAYLOADS,
    Fragment,
    PayloadType,
    parse_message,
    payload_name,
)
from engine.wire.proposals import (
    MAX_PROPOSALS,
    MAX_TRANSFORMS,
    Proposal,
    Transform,
    pack_proposals,
    parse_proposals,
)
from engine.wire.vendors import vendor_name


def bodies(payloads: list[Payload], payload_type: int) -> list[bytes]:
    return [body for kind, body in payloads if kind == payload_type]


ANY_REASON = {None, "zero-spi", "ike-v1", "ike-version", "bad-length", "truncated", "bad-payload"}


def refusal(parse: Callable[[bytes], object], data: bytes) -> str | None:
    """Why these bytes are refused; None: they are read."""
    try:
        parse(data)
    except WireError as error:
        return error.reason
    return None


def message_of(first: int, content: bytes) -> bytes:
    """A good header before any content."""
    return IkeHeader(1, 0, first, IKEV2, Exchange.IKE_SA_INIT, 0, 0, 28 + len(content)).pack() + content


@given(header_fields, payload_lists)
def test_what_is_built_is_read_back(fields: dict[str, int], payloads: list[Payload]) -> None:
    """Every payload of any well-formed message is seen, in its order and with its content."""
    message = parse_message(build_message(payloads, **fields))
    assert list(message.payloads) == [kind for kind, _ in payloads]
    assert [notify.pack() for notify in message.notifies] == bodies(payloads, PayloadType.N)
    assert list(message.vendor_ids) == bodies(payloads, PayloadType.V)
    if nonces := bodies(payloads, PayloadType.NONCE):
        assert message.nonce_size_bytes == len(nonces[-1])
    if keys := bodies(payloads, PayloadType.KE):
        assert message.ke_group == int.from_bytes(keys[-1][:2])
    if offers := bodies(payloads, PayloadType.SA):
        assert pack_proposals(message.proposals) == offers[-1]
    assert not message.encrypted


@given(st.lists(proposals, max_size=5).map(tuple))
def test_proposals_survive_the_round_trip(offered: tuple[Proposal, ...]) -> None:
    assert parse_proposals(pack_proposals(offered)) == offered


@given(notifies)
def test_notifies_survive_the_round_trip(notify: Notify) -> None:
    assert parse_notify(notify.pack()) == notify


@given(header_fields, payload_lists, st.data())
def test_a_damaged_message_raises_nothing_but_wire_errors(
    fields: dict[str, int], payloads: list[Payload], draw: st.DataObject
) -> None:
    """One byte changed anywhere, lengths and counts included, is read or refused."""
    message = bytearray(build_message(payloads, **fields))
    position = draw.draw(st.integers(0, len(message) - 1))
    message[position] = draw.draw(st.integers(0, 255))
    assert refusal(parse_message, bytes(message)) in ANY_REASON


@given(st.integers(0, 255), st.binary(max_size=200))
def test_arbitrary_payloads_raise_nothing_but_wire_errors(first: int, content: bytes) -> None:
    """Whatever stands behind a good header is read or refused."""
    assert refusal(parse_message, message_of(first, content)) in (None, "bad-payload")


CHAINS = {
    "payload shorter than its own header, read over it": (PayloadType.V, "2b0000020004"),
    "payload longer than the message": (PayloadType.V, "00000005"),
    "message that ends before the payload it announces": (PayloadType.V, "2b000004"),
    "bytes behind the last payload": (PayloadType.V, "0000000400"),
    "bytes although no payload is announced": (0, "00"),
}


@pytest.mark.parametrize(("first", "content"), CHAINS.values(), ids=CHAINS)
def test_broken_chains_are_refused(first: int, content: str) -> None:
    """The chain of payloads must fill the message, no more and no less."""
    assert refusal(parse_message, message_of(first, bytes.fromhex(content))) == "bad-payload"


@given(st.binary(max_size=120))
def test_arbitrary_proposals_raise_nothing_but_wire_errors(body: bytes) -> None:
    """Whatever an SA payload holds is read or refused."""
    assert refusal(parse_proposals, body) in (None, "bad-payload")


@pytest.mark.parametrize("payload_type", [PayloadType.SK, PayloadType.SKF])
def test_nothing_behind_an_encrypted_payload_is_read(payload_type: PayloadType) -> None:
    """The next-payload field of an encrypted payload names its first inner one; that is not a further payload."""
    message = bytearray(build_message([(payload_type, struct.pack("!HH", 2, 3) + bytes(60))], spi_i=1))
    message[28] = PayloadType.ID_I
    seen = parse_message(message)
    assert seen.payloads == (payload_type,)
    assert seen.encrypted
    assert seen.fragment == (Fragment(2, 3) if payload_type == PayloadType.SKF else None)


def test_cleartext_payloads_before_the_encrypted_one_are_seen() -> None:
    seen = parse_message(build_message([notify_payload(NotifyType.COOKIE, b"c"), (46, bytes(20))], spi_i=1))
    assert seen.encrypted
    assert seen.notify(NotifyType.COOKIE) == Notify(NotifyType.COOKIE, data=b"c")


ONE = (Transform(1, 20, 128),)
DAMAGED = {
    "KE without a group": [(PayloadType.KE, b"\0\x1f\0")],
    "notify without a type": [(PayloadType.N, b"\0\0\0")],
    "notify with an SPI longer than itself": [(PayloadType.N, b"\0\x09\0\x01spi")],
    "fragment without its number": [(PayloadType.SKF, b"\0\1\0")],
    "proposal cut short": [(PayloadType.SA, pack_proposals([Proposal(1, ONE)])[:-1])],
    "bytes behind the last proposal": [(PayloadType.SA, pack_proposals([Proposal(1, ONE)]) + b"\0")],
    "proposal with an SPI longer than itself": [(PayloadType.SA, bytes.fromhex("00000008 01010400"))],
    "proposal with fewer transforms than it says": [(PayloadType.SA, bytes.fromhex("00000008 01010001"))],
    "proposal with neither of the two chain markers": [(PayloadType.SA, bytes.fromhex("01000008 01010000"))],
    "more proposals announced than present": [(PayloadType.SA, bytes.fromhex("02000008 01010000"))],
    "attribute longer than its transform": [
        (PayloadType.SA, bytes.fromhex("00000014 01010001 0000000c 01000014 00010004"))
    ],
    "attribute cut short": [(PayloadType.SA, bytes.fromhex("00000012 01010001 0000000a 01000014 800e"))],
    "too many payloads": [(PayloadType.V, b"")] * (MAX_PAYLOADS + 1),
    "too many proposals": [sa_payload(*[Proposal(1, ())] * (MAX_PROPOSALS + 1))],
    "too many transforms": [sa_payload(*[Proposal(1, ONE * (MAX_TRANSFORMS // 4))] * 4, Proposal(1, ONE))],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_payloads_are_refused(name: str) -> None:
    """Lengths that lie and lists that do not end are bad payloads."""
    assert refusal(parse_message, build_message(DAMAGED[name], spi_i=1)) == "bad-payload"


def test_a_message_may_be_as_long_as_the_limits_allow() -> None:
    """The limits themselves are still accepted."""
    assert len(parse_message(build_message([(43, b"")] * MAX_PAYLOADS, spi_i=1)).payloads) == MAX_PAYLOADS
    body = pack_proposals([Proposal(1, ONE * (MAX_TRANSFORMS // 4))] * 4)
    assert len(parse_proposals(body)) == 4


PROPOSAL_NAMES = {
    "aes128gcm16-prfsha256-x25519": [(1, 20, 128), (2, 5, 0), (4, 31, 0)],
    "aes256-sha256-prfsha256-modp2048": [(4, 14, 0), (3, 12, 0), (2, 5, 0), (1, 12, 256)],
    "3des-sha1-prfsha1-modp1024": [(1, 3, 0), (2, 2, 0), (3, 2, 0), (4, 2, 0)],
    "aes192-aes128-sha384-prfsha384-ecp384": [(1, 12, 192), (1, 12, 128), (2, 6, 0), (3, 13, 0), (4, 20, 0)],
    "chacha20poly1305-prfsha512-x448-ke1_mlkem768": [(1, 28, 0), (2, 7, 0), (4, 32, 0), (6, 36, 0)],
    "aes256gcm16-noesn": [(5, 0, 0), (1, 20, 256)],
    "encr65535-integ99-prf99-ke99-esn9-transform99_1": [
        (99, 1, 0),
        (5, 9, 0),
        (4, 99, 0),
        (2, 99, 0),
        (3, 99, 0),
        (1, 65535, 0),
    ],
    "encr65535_256": [(1, 65535, 256)],
    "": [],
}


@pytest.mark.parametrize(("name", "transforms"), PROPOSAL_NAMES.items())
def test_proposals_are_named_as_operators_write_them(name: str, transforms: list[tuple[int, int, int]]) -> None:
    """Cipher, integrity, PRF, group, whatever order they came in; the unknown by number."""
    assert Proposal(1, tuple(Transform(*transform) for transform in transforms)).name == name


def test_key_length_is_found_among_other_attributes() -> None:
    """A transform may carry attributes we do not know, short and long."""
    body = bytes.fromhex("0000001f 01010001 00000017 01000014 00050003616263 80060001 800e0100")
    assert parse_proposals(body)[0].transforms == (Transform(1, 20, 256),)


def test_windows_client() -> None:
    """A Windows client's first message, with the vendor ids it is known by, offers and says this."""
    message = parse_message(
        build_message(
            [
                sa_payload(Proposal(1, (Transform(1, 12, 256), Transform(2, 5), Transform(3, 12), Transform(4, 2)))),
                ke_payload(2, bytes(128)),
                nonce_payload(bytes(48)),
                notify_payload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED),
                vendor_payload(bytes.fromhex("1e2b516905991c7d7c96fcbfb587e46100000009")),
                vendor_payload(bytes.fromhex("fb1de3cdf341b7ea16b7e5be0855f120")),
                vendor_payload(bytes.fromhex("26244d38eddb61b3172a36e3d0cfb819")),
            ],
            spi_i=1,
        )
    )
    assert message.proposals[0].name == "aes256-sha256-prfsha256-modp1024"
    assert message.ke_name == "modp1024"
    assert message.nonce_size_bytes == 48
    assert vendor_name(message.vendor_ids) == "Windows 8+ (MS NT5 ISAKMPOAKLEY v9)"


VENDORS = {
    "strongSwan": ["882fe56d6fd20dbc2251613b2ebe5beb"],
    "Windows": ["fb1de3cdf341b7ea16b7e5be0855f120"],
    "Windows (MS NT5 ISAKMPOAKLEY)": ["1e2b516905991c7d7c96fcbfb587e461"],
    "Windows (MS NT5 ISAKMPOAKLEY v77)": ["1e2b516905991c7d7c96fcbfb587e4610000004d"],
    "Windows 7 (MS NT5 ISAKMPOAKLEY v8)": ["fb1de3cd", "1e2b516905991c7d7c96fcbfb587e46100000008"],
    "Libreswan 5.2": [b"OE-Libreswan-5.2".hex()],
    "Libreswan": [b"OE-Libreswan-\x1b[2J".hex()],
    "FortiClient": ["b4f01ca951e9da8d0bafbbd34ad3044e"],
    "FortiGate": ["8299031757a36082c6a621de00000000"],
    "Juniper": ["699369228741c6d4ca094c93e242c9de19e7b7c60000000500000500"],
    "Cisco": ["00", b"CISCO-DELETE-REASON".hex()],
    "": ["00112233"],
}


@pytest.mark.parametrize(("name", "vendor_ids"), VENDORS.items())
def test_vendors(name: str, vendor_ids: list[str]) -> None:
    """A product is known by its vendor id; an unknown one has no name."""
    assert vendor_name(map(bytes.fromhex, vendor_ids)) == name


def test_no_vendor_id_no_name() -> None:
    assert vendor_name(()) == ""


def test_errors_have_a_meaning_and_statuses_have_none() -> None:
    """An operator is told what every error that we know by name says."""
    for notify_type in NotifyType:
        notify = Notify(notify_type)
        assert notify.is_error == bool(notify.meaning)
        assert notify.name == notify_type.name
    assert Notify(99).is_error
    assert Notify(99).meaning == ""


def test_the_unknown_is_shown_by_its_number() -> None:
    assert notify_name(40960) == "notify 40960"
    assert payload_name(200) == "payload 200"


def test_a_message_without_payloads() -> None:
    seen = parse_message(build_message(spi_i=1))
    assert seen.payloads == ()
    assert not seen.encrypted
    assert seen.ke_name == ""
    assert seen.notify(NotifyType.COOKIE) is None


def test_a_message_is_read_out_of_the_middle_of_a_buffer() -> None:
    """Marker before it, trailing bytes after it: only the message itself is read."""
    datagram = next(d.payload for d in datagrams(CAPTURES / "connect-psk.pcap"))
    assert parse_message(b"\0\0\0\0" + datagram + b"trailing", 4) == parse_message(datagram)


def test_notify_payload_carries_protocol_and_spi() -> None:
    notify = Notify(NotifyType.INVALID_SPI, protocol=3, spi=b"\1\2\3\4", data=b"x")
    assert parse_message(build_message([notify_payload_of(notify)], spi_i=1)).notifies == (notify,)
