"""scapy, an implementation that shares nothing with ours, reads and writes the same messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import ikev2
from scapy.packet import Packet
from wire_pcap import CAPTURES, datagrams
from wire_strategies import header_fields, spis

from engine.wire.build import Payload, build_message, ke_payload, nonce_payload, notify_payload, sa_payload
from engine.wire.encapsulation import Kind, classify
from engine.wire.header import Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import Message, PayloadType, parse_message
from engine.wire.proposals import Proposal, Transform

BODIES = {
    ikev2.IKEv2_SA: PayloadType.SA,
    ikev2.IKEv2_KE: PayloadType.KE,
    ikev2.IKEv2_Nonce: PayloadType.NONCE,
    ikev2.IKEv2_Notify: PayloadType.N,
    ikev2.IKEv2_CERTREQ: PayloadType.CERTREQ,
    ikev2.IKEv2_Encrypted: PayloadType.SK,
    ikev2.IKEv2_Encrypted_Fragment: PayloadType.SKF,
}
# scapy's names for these begin with a prefix of another tool.
PREFIX = "IV2_NOTIFY_"


def scapy_transform(transform: Packet) -> Transform:
    return Transform(transform.transform_type, transform.transform_id, getattr(transform, "key_length", 0) or 0)


def chain(first: Packet) -> list[Packet]:
    """A packet and the payloads that scapy hung below it."""
    found = []
    while isinstance(first, ikev2.IKEv2_Payload):
        found.append(first)
        first = first.payload
    return found


def assert_same(message: Message, oracle: Packet) -> None:
    header = message.header
    assert (header.spi_i.to_bytes(8), header.spi_r.to_bytes(8)) == (oracle.init_SPI, oracle.resp_SPI)
    assert (header.next_payload, header.version) == (oracle.next_payload, oracle.version)
    assert (header.exchange, header.flags) == (oracle.exch_type, int(oracle.flags))
    assert (header.message_id, header.length) == (oracle.id, oracle.length)

    payloads = chain(oracle.payload)
    assert [BODIES[type(payload)] for payload in payloads] == list(message.payloads)
    notifies = iter(message.notifies)
    for payload in payloads:
        match BODIES[type(payload)]:
            case PayloadType.SA:
                offered = tuple(
                    Proposal(
                        proposal.proposal,
                        tuple(scapy_transform(transform) for transform in chain(proposal.trans)),
                        proposal.proto,
                        proposal.SPI,
                    )
                    for proposal in chain(payload.prop)
                )
                assert offered == message.proposals
            case PayloadType.KE:
                assert payload.group == message.ke_group
            case PayloadType.NONCE:
                assert len(payload.nonce) == message.nonce_size_bytes
            case PayloadType.N:
                notify = next(notifies)
                assert (payload.type, payload.proto, payload.notify) == (notify.type, notify.protocol, notify.data)
            case PayloadType.SKF:
                assert message.fragment is not None
                assert (payload.frag_number, payload.frag_total) == (
                    message.fragment.number,
                    message.fragment.total,
                )
    assert next(notifies, None) is None


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda path: path.stem)
def test_captures_read_the_same(path: Path) -> None:
    """Header and cleartext payloads of every captured IKE message are what scapy finds."""
    compared = 0
    for datagram in datagrams(path):
        data = datagram.payload
        if classify(data, len(data), datagram.nat_t) is Kind.IKE:
            offset = 4 if datagram.nat_t else 0
            assert_same(parse_message(data, offset), ikev2.IKEv2(data[offset:]))
            compared += 1
    assert compared > 0


transforms = st.lists(
    st.builds(
        Transform,
        type=st.integers(1, 5),
        id=st.integers(0, 0xFFFF),
        key_bits=st.sampled_from([0, 128, 192, 256]),
    ),
    min_size=1,
    max_size=5,
).map(tuple)
offers = st.lists(st.builds(Proposal, number=st.integers(1, 255), transforms=transforms), min_size=1, max_size=3)
status_types = st.integers(16384, 40959).filter(
    lambda number: number not in (NotifyType.REDIRECT, NotifyType.REDIRECTED_FROM)
)
payload_lists = st.tuples(
    offers.map(lambda offered: sa_payload(*offered)),
    st.builds(ke_payload, st.integers(1, 37), st.binary(min_size=1, max_size=64)),
    st.binary(min_size=16, max_size=64).map(nonce_payload),
    st.builds(notify_payload, status_types, st.binary(min_size=1, max_size=30)),
)


@given(header_fields, payload_lists)
def test_scapy_reads_what_we_write(fields: dict[str, int], payloads: tuple[Payload, ...]) -> None:
    """A first message with any proposals means the same to scapy."""
    data = build_message(payloads, **fields)
    assert_same(parse_message(data), ikev2.IKEv2(data))


@given(spis, transforms, st.binary(min_size=1, max_size=64), st.binary(min_size=16, max_size=64))
def test_we_write_what_scapy_writes(spi: int, offered: tuple[Transform, ...], key: bytes, nonce: bytes) -> None:
    """A first message is the same to the byte when scapy builds it."""
    chained = None
    for transform in reversed(offered):
        layer = ikev2.IKEv2_Transform(
            transform_type=transform.type,
            transform_id=transform.id,
            length=12 if transform.key_bits else 8,
            key_length=transform.key_bits,
            next_payload=0 if chained is None else 3,
        )
        chained = layer if chained is None else layer / chained
    theirs = (
        ikev2.IKEv2(init_SPI=spi.to_bytes(8), next_payload="SA", exch_type="IKE_SA_INIT", flags="Initiator")
        / ikev2.IKEv2_SA(next_payload="KE", prop=ikev2.IKEv2_Proposal(trans_nb=len(offered), trans=chained))
        / ikev2.IKEv2_KE(next_payload="Nonce", group=31, ke=key)
        / ikev2.IKEv2_Nonce(nonce=nonce)
    )
    ours = build_message([sa_payload(Proposal(1, offered)), ke_payload(31, key), nonce_payload(nonce)], spi_i=spi)
    assert ours == bytes(theirs)


def test_notify_and_exchange_numbers() -> None:
    """Our numbers and names are those of scapy's tables, as far as those know them."""
    ours = {notify.value: notify.name for notify in NotifyType}
    theirs = {number: name.removeprefix(PREFIX) for number, name in ikev2.IKEv2NotifyMessageTypes.items()}
    assert ours == {number: theirs[number] for number in ours}
    theirs = ikev2.IKEv2ExchangeTypes
    assert [exchange for exchange in Exchange if theirs.get(exchange) not in (exchange.name, None)] == []
    assert theirs[Exchange.IKE_SA_INIT] == "IKE_SA_INIT"
