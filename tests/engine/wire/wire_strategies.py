"""Hypothesis strategies for well-formed IKE messages, as arguments of `build_message`."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.wire.build import (
    Payload,
    ke_payload,
    nonce_payload,
    notify_payload,
    sa_payload,
    vendor_payload,
)
from engine.wire.notifies import Notify
from engine.wire.payloads import PayloadType
from engine.wire.proposals import Proposal, Transform

bytes_8 = st.integers(0, 0xFF)
bytes_16 = st.integers(0, 0xFFFF)
spis = st.integers(1, 2**64 - 1)

header_fields = st.fixed_dictionaries(
    {
        "spi_i": spis,
        "spi_r": st.integers(0, 2**64 - 1),
        "exchange": bytes_8,
        "flags": bytes_8,
        "message_id": st.integers(0, 2**32 - 1),
        "version": st.integers(0x20, 0x2F),
    }
)
transforms = st.builds(Transform, type=bytes_8, id=bytes_16, key_bits=bytes_16)
proposals = st.builds(
    Proposal,
    number=bytes_8,
    transforms=st.lists(transforms, max_size=6).map(tuple),
    protocol=bytes_8,
    spi=st.binary(max_size=8),
)
notifies = st.builds(
    Notify,
    type=bytes_16,
    protocol=bytes_8,
    spi=st.binary(max_size=8),
    data=st.binary(max_size=40),
)

KNOWN_TYPES = {PayloadType.SA, PayloadType.KE, PayloadType.N, PayloadType.SK, PayloadType.SKF}


def notify_payload_of(notify: Notify) -> Payload:
    return notify_payload(notify.type, notify.data, protocol=notify.protocol, spi=notify.spi)


payloads = st.one_of(
    st.lists(proposals, max_size=4).map(lambda offered: sa_payload(*offered)),
    st.builds(ke_payload, bytes_16, st.binary(max_size=64)),
    st.binary(max_size=64).map(nonce_payload),
    notifies.map(notify_payload_of),
    st.binary(max_size=32).map(vendor_payload),
    st.tuples(st.integers(1, 255).filter(lambda number: number not in KNOWN_TYPES), st.binary(max_size=32)),
)
payload_lists = st.lists(payloads, max_size=10)
