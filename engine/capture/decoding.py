"""What an IKE message shows in the clear, in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

import msgspec

from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.errors import WireError
from engine.wire.header import IkeHeader, exchange_name, parse_header
from engine.wire.notifies import Notify, NotifyType
from engine.wire.payloads import Message, PayloadType, parse_message, payload_name
from engine.wire.proposals import Proposal
from engine.wire.vendors import vendor_name

MAX_PROPOSAL_CHARACTERS: Final = 60
"""Of a proposal that is spelled out: a longer one is cut."""

_SPI_DIGITS: Final = 8
"""Of an SPI where people only have to tell it from others."""


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """One message as people and programs read it."""

    exchange: str
    """Such as IKE_SA_INIT; "not IKE" where there is no header, and all but `what` is empty then."""
    message_id: int | None = None
    flags: str = ""
    """I: sent by the original initiator, R: an answer; - for neither."""
    spi_i: str = ""
    """16 hex digits."""
    spi_r: str = ""
    """16 hex digits; empty while the responder has chosen none."""
    what: str
    """The payloads in the clear, or what is wrong."""

    @property
    def kind(self) -> str:
        """request 0, answer 0."""
        return "" if self.message_id is None else f"{'answer' if 'R' in self.flags else 'request'} {self.message_id}"

    @property
    def spis(self) -> str:
        """The first digits of both SPIs, 0 for none."""
        return f"{self.spi_i[:_SPI_DIGITS]}/{self.spi_r[:_SPI_DIGITS] or '0'}" if self.spi_i else ""


def decode(data: bytes, nat_t: bool) -> Decoded:
    """Read the UDP payload of an IKE message on either port; raises nothing, whatever the bytes."""
    start = len(NON_ESP_MARKER) if nat_t else 0
    try:
        message = parse_message(data, start)
    except WireError as unreadable:
        try:
            header = parse_header(data, start)
        except WireError as error:
            return Decoded(exchange="not IKE", what=str(error))
        return _decoded(header, f"unreadable: {unreadable}")
    return _decoded(message.header, " ".join(_payloads(message)))


def _decoded(header: IkeHeader, what: str) -> Decoded:
    return Decoded(
        exchange=exchange_name(header.exchange),
        message_id=header.message_id,
        flags=("I" if header.initiator else "") + ("R" if header.response else "") or "-",
        spi_i=f"{header.spi_i:016x}",
        spi_r=f"{header.spi_r:016x}" if header.spi_r else "",
        what=what,
    )


def _payloads(message: Message) -> Iterator[str]:
    """Name each payload in its order, with what is worth knowing of it."""
    notifies = chain(message.notifies)
    vendors = chain(message.vendor_ids)
    for payload_type in message.payloads:
        match payload_type:
            case PayloadType.SA:
                yield f"SA({_proposals(message.proposals)})"
            case PayloadType.KE:
                yield f"KE({message.ke_name})"
            case PayloadType.NONCE:
                yield f"NONCE({message.nonce_size_bytes} bytes)"
            case PayloadType.N:
                yield f"N({_notify(next(notifies))})"
            case PayloadType.V:
                vendor_id = next(vendors)
                yield f"V({vendor_name([vendor_id]) or vendor_id[:8].hex()})"
            case PayloadType.SK:
                yield "SK encrypted"
            case PayloadType.SKF:
                assert message.fragment is not None
                yield f"SKF encrypted, fragment {message.fragment.number} of {message.fragment.total}"
            case _:
                yield payload_name(payload_type)


def _proposals(proposals: tuple[Proposal, ...]) -> str:
    if len(proposals) != 1:
        return f"{len(proposals)} proposals"
    name = proposals[0].name
    return name if len(name) <= MAX_PROPOSAL_CHARACTERS else f"{name[:MAX_PROPOSAL_CHARACTERS]}…"


def _notify(notify: Notify) -> str:
    """The name, and of an error what it means."""
    if notify.type == NotifyType.COOKIE:
        return f"{notify.name}: {len(notify.data)} bytes"
    return f"{notify.name}: {notify.meaning}" if notify.meaning else notify.name
