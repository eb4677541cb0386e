"""Captured messages to read and write: an IKE_SA_INIT exchange, a fragment of IKE_AUTH, and what was dropped."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.control.captured import Captured, CapturedMessage
from engine.wire.algorithms import TransformType
from engine.wire.build import (
    build_message,
    ke_payload,
    nonce_payload,
    notify_payload,
    sa_payload,
    vendor_payload,
)
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import INITIATOR_FLAG, RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType
from engine.wire.proposals import Proposal, Transform

AT = 1_767_614_671.2045
"""2026-01-05 12:04:31 UTC."""
SPI_I, SPI_R = 0x4F2A91C0AA01D3E7, 0x91B2C00D77AA0E51
WINDOWS = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e46100000009")
SUITE = Proposal(
    number=1,
    transforms=(
        Transform(TransformType.ENCRYPTION, 20, 256),
        Transform(TransformType.PRF, 6),
        Transform(TransformType.KEY_EXCHANGE, 20),
    ),
)

INIT = build_message(
    [
        sa_payload(SUITE),
        ke_payload(20, bytes(96)),
        nonce_payload(bytes(32)),
        notify_payload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20)),
        notify_payload(NotifyType.NAT_DETECTION_DESTINATION_IP, bytes(20)),
        vendor_payload(WINDOWS),
    ],
    spi_i=SPI_I,
)
ANSWER = build_message(
    [sa_payload(SUITE), ke_payload(20, bytes(96)), nonce_payload(bytes(32))],
    spi_i=SPI_I,
    spi_r=SPI_R,
    flags=RESPONSE_FLAG,
)
REFUSAL = build_message([notify_payload(NotifyType.NO_PROPOSAL_CHOSEN)], spi_i=SPI_I, spi_r=SPI_R, flags=RESPONSE_FLAG)
FRAGMENT = NON_ESP_MARKER + build_message(
    [(PayloadType.SKF, b"\0\2\0\5" + bytes(100))], spi_i=SPI_I, spi_r=SPI_R, exchange=Exchange.IKE_AUTH, message_id=1
)
LIVENESS = NON_ESP_MARKER + build_message(
    [(PayloadType.SK, bytes(52))],
    spi_i=SPI_I,
    spi_r=SPI_R,
    exchange=Exchange.INFORMATIONAL,
    message_id=7,
    flags=INITIATOR_FLAG | RESPONSE_FLAG,
)


def captured(number: int = 1, data: bytes = INIT, **fields: Any) -> CapturedMessage:
    """A message of one client, by default its IKE_SA_INIT."""
    message = CapturedMessage(
        number=number,
        at=AT + number / 100,
        direction="in",
        port="ike",
        service="always-on-vpn",
        client="198.51.100.7:500",
        vip="203.0.113.10:500",
        data=data,
        server="rras-1",
        server_address="10.0.0.11:500",
        source="10.0.9.1:40001",
    )
    return msgspec.structs.replace(message, **fields)


NAT_T = {
    "port": "nat-t",
    "client": "198.51.100.7:61022",
    "vip": "203.0.113.10:4500",
    "server_address": "10.0.0.11:4500",
    "source": "10.0.9.1:40002",
}
CAPTURED = Captured(
    messages=[
        captured(1, dropped="no-server", server="", server_address="", source=""),
        captured(2),
        captured(3, ANSWER, direction="out"),
        captured(4, FRAGMENT, **NAT_T),
        captured(7, REFUSAL, direction="out"),
        captured(8, LIVENESS, **NAT_T),
        captured(9, b"\0\0\0\0\1", **NAT_T, dropped="runt"),
    ],
    seen=9,
)
"""Of one client; two are lost."""
