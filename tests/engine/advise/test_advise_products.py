"""A real server's product is told from its answers to IKE_SA_INIT, and left open where they do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from engine.advise.products import Product, product_of
from engine.wire.build import Payload, build_message, nonce_payload, notify_payload, vendor_payload
from engine.wire.header import RESPONSE_FLAG
from engine.wire.notifies import NotifyType

CAPTURE = Path(__file__).parents[2] / "data" / "captures" / "connect-cert.pcap"
UDP_PAYLOAD_AT = 14 + 20 + 8
WINDOWS_ID = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461") + (9).to_bytes(4)
CHILDLESS = notify_payload(NotifyType.CHILDLESS_IKEV2_SUPPORTED)
MULTIPLE_AUTH = notify_payload(NotifyType.MULTIPLE_AUTH_SUPPORTED)


def answer(*payloads: Payload) -> bytes:
    return build_message([nonce_payload(bytes(16)), *payloads], spi_i=1, spi_r=2, flags=RESPONSE_FLAG)


def test_real_strongswan_is_known_though_it_names_no_vendor() -> None:
    with RawPcapReader(str(CAPTURE)) as packets:
        request, accepted = (next(packets)[0][UDP_PAYLOAD_AT:] for _ in range(2))
    assert product_of([accepted]) is Product.STRONGSWAN
    assert product_of([request]) is Product.UNKNOWN


@pytest.mark.parametrize(
    ("messages", "product"),
    [
        ([], Product.UNKNOWN),
        ([answer()], Product.UNKNOWN),
        ([answer(MULTIPLE_AUTH)], Product.UNKNOWN),
        ([answer(CHILDLESS, MULTIPLE_AUTH)], Product.STRONGSWAN),
        ([answer(vendor_payload(WINDOWS_ID))], Product.WINDOWS),
        ([answer(vendor_payload(b"CISCO-DELETE-REASON"))], Product.OTHER),
        ([b"no IKE message"], Product.UNKNOWN),
        ([answer(vendor_payload(WINDOWS_ID)), answer()], Product.WINDOWS),
        ([answer(vendor_payload(WINDOWS_ID)), answer(CHILDLESS, MULTIPLE_AUTH)], Product.STRONGSWAN),
    ],
)
def test_the_latest_message_that_tells_the_product_counts(messages: list[bytes], product: Product) -> None:
    assert product_of(messages) is product
