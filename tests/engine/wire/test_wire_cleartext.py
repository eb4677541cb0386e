"""What is read of messages without reading them whole."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.build import build_message, nonce_payload, notify_payload, sa_payload, vendor_payload
from engine.wire.cleartext import LARGEST_COMPLAINT_BYTES, complaints, read_vendor_ids
from engine.wire.errors import WireError
from engine.wire.header import INITIATOR_FLAG, RESPONSE_FLAG, Exchange, parse_header
from engine.wire.notifies import Notify, NotifyType
from engine.wire.payloads import PayloadType
from engine.wire.proposals import Proposal, Transform

REFUSAL = notify_payload(NotifyType.NO_PROPOSAL_CHOSEN)
ACCEPTED = sa_payload(Proposal(1, (Transform(1, 20, 128),)))


def answer(*payloads: tuple[int, bytes], exchange: int = Exchange.IKE_SA_INIT, flags: int = RESPONSE_FLAG) -> bytes:
    return build_message(payloads, spi_i=1, exchange=exchange, flags=flags)


@pytest.mark.parametrize(
    ("message", "types"),
    [
        (answer(REFUSAL), [NotifyType.NO_PROPOSAL_CHOSEN]),
        (answer(vendor_payload(b"somebody"), REFUSAL), [NotifyType.NO_PROPOSAL_CHOSEN]),
        (answer(REFUSAL, exchange=Exchange.IKE_AUTH), [NotifyType.NO_PROPOSAL_CHOSEN]),
        (answer(REFUSAL, exchange=Exchange.INFORMATIONAL, flags=INITIATOR_FLAG), [NotifyType.NO_PROPOSAL_CHOSEN]),
        (answer(REFUSAL, flags=INITIATOR_FLAG), []),
        (answer(ACCEPTED, REFUSAL), []),
        (answer((PayloadType.SK, bytes(40))), []),
        (answer((PayloadType.SKF, bytes(40))), []),
        (answer(REFUSAL, vendor_payload(bytes(LARGEST_COMPLAINT_BYTES))), []),
        (answer(REFUSAL, (PayloadType.N, b"\0")), []),
        (answer(), []),
    ],
    ids=[
        "refusal",
        "with a vendor id",
        "of IKE_AUTH",
        "outside of any IKE SA",
        "request, as it comes back with a cookie",
        "agreement",
        "encrypted",
        "encrypted fragment",
        "too long",
        "damaged",
        "empty",
    ],
)
def test_complaints_are_what_is_said_in_the_clear_instead_of_an_agreement(message: bytes, types: list[int]) -> None:
    for offset in (0, 4):
        found = complaints(parse_header(message), bytes(offset) + message, offset)
        assert [notify.type for notify in found] == types


@given(
    first=st.sampled_from([PayloadType.N, PayloadType.V, PayloadType.SA, 200]),
    content=st.binary(max_size=100),
    exchange=st.sampled_from(Exchange),
)
def test_whatever_a_message_holds_it_raises_nothing_but_wire_errors(
    first: int, content: bytes, exchange: Exchange
) -> None:
    message = build_message([(first, content)], spi_i=1, exchange=exchange, flags=RESPONSE_FLAG)
    damaged = message[:28] + content + bytes(max(0, len(message) - 28 - len(content)))
    for each in (message, damaged):
        assert all(isinstance(one, Notify) for one in complaints(parse_header(each), each, 0))
        with suppress(WireError):
            read_vendor_ids(each)


def test_vendor_ids_are_read_out_of_a_whole_message() -> None:
    message = answer(ACCEPTED, nonce_payload(bytes(32)), vendor_payload(b"one"), vendor_payload(b"two"))
    assert read_vendor_ids(message) == (b"one", b"two")
    with pytest.raises(WireError):
        read_vendor_ids(message[:-1])
