"""Every packet of every capture of real strongSwan peers reads as its listing says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from wire_pcap import CAPTURES, Datagram, datagrams

from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify, esp_spi
from engine.wire.header import exchange_name
from engine.wire.notifies import Notify, NotifyType, notify_name
from engine.wire.payloads import Message, PayloadType, parse_message, payload_name
from engine.wire.proposals import Proposal
from engine.wire.vendors import vendor_name

# The listing writes names of its own for these, and bare numbers for what it does not know.
LISTED_PAYLOADS = {"SA": "SA", "KE": "KE", "NONCE": "Ni", "CERTREQ": "38"}
LISTED_NOTIFIES = {
    "NAT_DETECTION_SOURCE_IP": "NATD_S",
    "NAT_DETECTION_DESTINATION_IP": "NATD_D",
    "COOKIE": "COOKIE",
    "INVALID_KE_PAYLOAD": "INVALID_KE_PAYLOAD",
}
PCAPS = sorted(CAPTURES.glob("*.pcap"))


def listing() -> dict[str, list[list[str]]]:
    """The words of each line of the listing, by capture."""
    captures: dict[str, list[list[str]]] = {}
    for line in (CAPTURES / "LISTING.txt").read_text().splitlines():
        if line.endswith(".pcap:"):
            lines = captures[line.removesuffix(":")] = []
        else:
            lines.append(line.split())
    return captures


def listed_notify(notify: Notify) -> str:
    return f"N({LISTED_NOTIFIES.get(notify_name(notify.type), notify.type)})"


def listed_payloads(message: Message) -> str:
    notifies = iter(message.notifies)
    words = []
    for payload in message.payloads:
        if payload == PayloadType.N:
            words.append(listed_notify(next(notifies)))
        elif message.fragment:
            words.append(f"SKF {message.fragment.number}/{message.fragment.total}")
        elif message.encrypted:
            words.append("SK")
        else:
            words.append(LISTED_PAYLOADS[payload_name(payload)])
    return " ".join(words)


def described(datagram: Datagram) -> str:
    payload = datagram.payload
    match classify(payload, len(payload), datagram.nat_t):
        case Kind.KEEPALIVE:
            return "NAT keepalive"
        case Kind.ESP:
            sequence = int.from_bytes(payload[4:8])
            return f"ESP spi {esp_spi(payload):08x} seq {sequence} len {len(payload)}"
        case Kind.IKE:
            message = parse_message(payload, len(NON_ESP_MARKER) if datagram.nat_t else 0)
            header = message.header
            return (
                f"IKE {header.spi_i:016x}_i {header.spi_r:016x}_r {exchange_name(header.exchange)}"
                f" {'response' if header.response else 'request'} {header.message_id}"
                f" by original {'initiator' if header.initiator else 'responder'}"
                f" len {header.length} [{listed_payloads(message)}]"
            )


def lines(datagram: Datagram) -> Iterator[str]:
    """The datagram as the listing writes it: one line for each piece that IP made of it."""
    (source, source_port), (destination, destination_port) = datagram.source, datagram.destination
    (at, _, _), *later = datagram.fragments
    note = " (first IP fragment)" if later else ""
    yield f"{at:.4f} {source}:{source_port} > {destination}:{destination_port} {described(datagram)}{note}"
    for at, offset, size in later:
        yield f"{at:.4f} {source} > {destination} IP fragment offset {offset} len {size}"


def test_no_capture_is_left_out() -> None:
    """The listing and the folder hold the same captures, so the next test covers them all."""
    assert [path.name for path in PCAPS] == sorted(listing())
    assert len(PCAPS) > 20


@pytest.mark.parametrize("path", PCAPS, ids=lambda path: path.stem)
def test_capture_reads_as_listed(path: Path) -> None:
    """SPIs, exchange, direction, message id, length and payloads of each packet are the listed ones."""
    ours = [line.split() for datagram in datagrams(path) for line in lines(datagram)]
    assert ours == listing()[path.name]


def first_messages(capture: str) -> list[Message]:
    """The messages that a capture carries on the IKE port."""
    return [parse_message(d.payload) for d in datagrams(CAPTURES / capture) if not d.nat_t]


def names(proposals: tuple[Proposal, ...]) -> list[str]:
    return [proposal.name for proposal in proposals]


def test_strongswan_offers_and_accepts_what_its_configuration_says() -> None:
    """The algorithms of a real offer and its answer appear as the server's configuration spells them."""
    request, response = first_messages("connect-cert.pcap")
    assert names(request.proposals) == [
        "aes128gcm16-prfsha256-x25519",
        "aes128-sha256-prfsha256-modp2048",
    ]
    assert names(response.proposals) == ["aes128gcm16-prfsha256-x25519"]
    assert request.ke_name == response.ke_name == "x25519"
    assert request.nonce_size_bytes == response.nonce_size_bytes == 32
    assert not request.encrypted


def test_a_wrong_guess_of_the_group_is_corrected() -> None:
    """A client that guessed modp2048 is told x25519 (its number is the notify's data) and comes back with it."""
    guess, correction, second, _ = first_messages("connect-badke.pcap")
    notify = correction.notifies[0]
    assert guess.ke_name == "modp2048"
    assert (notify.name, notify.is_error, notify.data) == ("INVALID_KE_PAYLOAD", True, b"\0\x1f")
    assert second.ke_name == "x25519"


def test_a_cookie_comes_back_unchanged() -> None:
    """The client repeats its message with the server's cookie before everything else."""
    _, _, first, demand, retry, _ = first_messages("cookie.pcap")
    assert first.header.spi_i == retry.header.spi_i
    assert first.notify(NotifyType.COOKIE) is None
    assert demand.notify(NotifyType.COOKIE) is not None
    assert retry.payloads[0] == PayloadType.N
    assert retry.notifies[0] == demand.notifies[0]


def test_ike_scan_offers_only_old_algorithms() -> None:
    """A scanner's long proposal is read whole, and names no vendor."""
    request = first_messages("ike-scan.pcap")[0]
    assert "3des" in request.proposals[0].name
    assert vendor_name(request.vendor_ids) == ""
