from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire_strategies import header_fields

from engine.wire.build import build_message
from engine.wire.errors import WireError
from engine.wire.header import Exchange, IkeHeader, exchange_name, parse_header

# The first message of a strongSwan client, its payloads cut off: SPIr is still zero, the initiator asks.
FIRST_MESSAGE = bytes.fromhex("43d2defdd5b3997e 0000000000000000 00 20 22 08 00000000 0000001c")


def test_every_field_of_a_real_header() -> None:
    """The fields of the golden header are where RFC 7296 puts them."""
    header = parse_header(FIRST_MESSAGE)
    assert header == IkeHeader(0x43D2DEFDD5B3997E, 0, 0, 0x20, Exchange.IKE_SA_INIT, 0x08, 0, 28)
    assert header.initiator
    assert not header.response
    assert header.pack() == FIRST_MESSAGE


@pytest.mark.parametrize(
    ("flags", "initiator", "response"),
    [(0x08, True, False), (0x20, False, True), (0x28, True, True), (0xD7, False, False)],
)
def test_flags(flags: int, initiator: bool, response: bool) -> None:
    """Initiator and response are one bit each; every other bit is ignored."""
    header = parse_header(build_message(spi_i=1, flags=flags))
    assert (header.initiator, header.response) == (initiator, response)


@given(header_fields)
def test_what_is_packed_is_read_back(fields: dict[str, int]) -> None:
    """Any header of major version 2 survives the round trip."""
    packed = build_message(**fields)
    header = parse_header(packed)
    assert {name: getattr(header, name) for name in fields} == fields
    assert header.pack() == packed


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_a_reused_buffer_is_read_where_the_datagram_lies(buffer: type[bytes]) -> None:
    """Offset and length of the message count, not what comes before or behind it."""
    data = buffer(b"\0\0\0\0" + FIRST_MESSAGE + b"left over")
    assert parse_header(data, 4).pack() == FIRST_MESSAGE


REFUSED = {
    "empty": (b"", "runt"),
    "one byte short of a header": (FIRST_MESSAGE[:27], "runt"),
    "no initiator SPI": (bytes(8) + FIRST_MESSAGE[8:], "zero-spi"),
    "IKEv1": (FIRST_MESSAGE[:17] + b"\x10" + FIRST_MESSAGE[18:], "ike-v1"),
    "IKEv3": (FIRST_MESSAGE[:17] + b"\x30" + FIRST_MESSAGE[18:], "ike-version"),
    "version 0": (FIRST_MESSAGE[:17] + b"\x00" + FIRST_MESSAGE[18:], "ike-version"),
    "says it is shorter than its header": (FIRST_MESSAGE[:24] + (27).to_bytes(4), "bad-length"),
    "says it is longer than what came": (FIRST_MESSAGE[:24] + (29).to_bytes(4), "truncated"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_refusals_have_their_reason(data: bytes, reason: str) -> None:
    """Each thing that is not an IKEv2 header is counted under its own reason."""
    with pytest.raises(WireError) as caught:
        parse_header(data)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ")


def test_a_message_cut_by_the_datagrams_end_is_truncated() -> None:
    message = build_message([(40, bytes(32))], spi_i=1)
    assert parse_header(message).length == len(message)
    with pytest.raises(WireError, match="truncated"):
        parse_header(message[:-1])
    with pytest.raises(WireError, match="truncated"):
        parse_header(b"\0\0\0\0" + message[:-1], 4)


def test_bytes_after_the_message_are_tolerated() -> None:
    assert parse_header(FIRST_MESSAGE + b"padding").length == 28


@given(st.binary(max_size=80), st.integers(0, 90))
@example(FIRST_MESSAGE, 0)
def test_arbitrary_bytes_raise_nothing_but_wire_errors(data: bytes, offset: int) -> None:
    """Whatever comes, the answer is a whole header or a WireError."""
    try:
        header = parse_header(data, offset)
    except WireError:
        return
    assert header.spi_i != 0
    assert 28 <= header.length <= len(data) - offset


def test_exchange_names() -> None:
    assert exchange_name(43) == "IKE_INTERMEDIATE"
    assert exchange_name(200) == "exchange 200"
