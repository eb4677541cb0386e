from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify, esp_spi
from engine.wire.errors import WireError

ON_THE_NAT_T_PORT = {
    "NAT keepalive": (b"\xff", Kind.KEEPALIVE),
    "non-ESP marker and a header": (NON_ESP_MARKER + bytes(28), Kind.IKE),
    "non-ESP marker alone, for the header parser to refuse": (NON_ESP_MARKER, Kind.IKE),
    "shortest ESP": (bytes.fromhex("d3aabefe00000001"), Kind.ESP),
    "ESP whose SPI begins with zeros": (bytes.fromhex("00000001") + bytes(60), Kind.ESP),
    "ESP whose SPI looks like a keepalive": (b"\xff" * 8, Kind.ESP),
}


@pytest.mark.parametrize(("data", "kind"), ON_THE_NAT_T_PORT.values(), ids=ON_THE_NAT_T_PORT)
def test_kinds_on_the_nat_t_port(data: bytes, kind: Kind) -> None:
    """Port 4500 carries keepalives, IKE behind the marker, and ESP."""
    assert classify(data, len(data), nat_t=True) is kind


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xfe", b"\xff\xff", b"\0\0\0", b"\0\0\0\1", b"\1" * 7])
def test_runts_on_the_nat_t_port(data: bytes) -> None:
    """What is too short for a marker, or for ESP's SPI and sequence number, is dropped as a runt."""
    with pytest.raises(WireError) as caught:
        classify(data, len(data), nat_t=True)
    assert caught.value.reason == "runt"


@given(st.binary(max_size=40))
def test_the_ike_port_carries_ike_only(data: bytes) -> None:
    """On port 500 there is no marker, so four zero bytes or 0xff mean nothing."""
    assert classify(data, len(data), nat_t=False) is Kind.IKE


@given(st.binary(max_size=40), st.integers(0, 50), st.booleans())
def test_only_the_datagram_counts_and_only_wire_errors_are_raised(data: bytes, size: int, nat_t: bool) -> None:
    """What an older datagram left in the buffer behind this one changes nothing."""

    def outcome(buffer: bytes, end: int) -> Kind | str:
        try:
            return classify(buffer, end, nat_t)
        except WireError as error:
            return error.reason

    size = min(size, len(data))
    assert outcome(data, size) == outcome(data[:size], size) == outcome(data[:size], size + 9)


def test_esp_spi_is_the_first_word() -> None:
    assert esp_spi(bytearray.fromhex("d3aabefe00000001")) == 0xD3AABEFE
    with pytest.raises(WireError, match="runt"):
        esp_spi(b"\1\2\3")
