from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import spis

from engine.wire.build import build_message, notify_payload
from engine.wire.errors import WireError
from engine.wire.header import RESPONSE_FLAG, parse_header
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from engine.wire.probe import PROBE_KE_SIZE_BYTES, ProbeAnswer, init_probe, read_answer, version_probe

SPI = 0x1122334455667788
NONCE = bytes(32)
KE = bytes(PROBE_KE_SIZE_BYTES)

# Answers of strongSwan 5.9.8 to probes with the SPI above, as they came.
STRONGSWAN = {
    "version probe": (
        "112233445566778800000000000000002920222000000000000000240000000800000005",
        ProbeAnswer(alive=True, busy=False, detail="INVALID_MAJOR_VERSION"),
    ),
    "init probe": (
        "11223344556677880000000000000000292022200000000000000024000000080000000e",
        ProbeAnswer(alive=True, busy=False, detail="NO_PROPOSAL_CHOSEN"),
    ),
    "init probe beside three half-open IKE SAs of the same address": (
        "1122334455667788000000000000000029202220000000000000003c000000200000400625050000"
        "59514a0b14fabc7194e3d1019ccebc8378bf5482",
        ProbeAnswer(alive=True, busy=True, detail="COOKIE"),
    ),
}


@pytest.mark.parametrize(("answer", "meaning"), STRONGSWAN.values(), ids=STRONGSWAN)
def test_answers_of_strongswan(answer: str, meaning: ProbeAnswer) -> None:
    """What a real server sends back is understood."""
    assert read_answer(bytes.fromhex(answer), SPI) == meaning


def test_version_probe_to_the_byte() -> None:
    """The probe that strongSwan answered: a bare header of major version 3."""
    assert version_probe(SPI).hex() == "1122334455667788000000000000000000302208000000000000001c"


def test_init_probe_is_a_well_formed_first_message_with_nothing_to_accept() -> None:
    """It has all that IKE_SA_INIT needs, and its only cipher is of the private-use range."""
    probe = parse_message(init_probe(SPI, NONCE, KE))
    assert probe.header.spi_i == SPI
    assert probe.header.initiator
    assert not probe.header.response
    assert [proposal.name for proposal in probe.proposals] == ["encr65535-sha256-prfsha256-modp2048"]
    assert probe.ke_name == "modp2048"
    assert probe.nonce_size_bytes == len(NONCE)


@given(spis, st.binary(min_size=16, max_size=256))
def test_probes_carry_their_spi(spi: int, nonce: bytes) -> None:
    assert int.from_bytes(version_probe(spi)[:8]) == spi
    assert parse_header(init_probe(spi, nonce, KE)).spi_i == spi


def test_a_server_that_would_set_up_an_sa_is_alive() -> None:
    """An accepting answer, or one that says nothing, is named by its exchange."""
    answer = build_message(spi_i=SPI, spi_r=9, flags=RESPONSE_FLAG)
    assert read_answer(answer, SPI) == ProbeAnswer(alive=True, busy=False, detail="IKE_SA_INIT")


def test_the_error_counts_not_the_statuses_around_it() -> None:
    notifies = [
        notify_payload(NotifyType.REDIRECT_SUPPORTED),
        notify_payload(NotifyType.INVALID_SYNTAX),
    ]
    answer = build_message(notifies, spi_i=SPI, flags=RESPONSE_FLAG)
    assert read_answer(answer, SPI).detail == "INVALID_SYNTAX"


def test_an_ikev1_server_is_not_alive_for_ikev2() -> None:
    """A responder that answers in IKEv1 is there, and no use to an IKEv2 client."""
    answer = build_message(spi_i=SPI, version=0x10, flags=0)
    assert read_answer(answer, SPI) == ProbeAnswer(alive=False, busy=False, detail="IKEv1 only")


NO_ANSWERS = {
    "another probe's answer": (build_message(spi_i=SPI + 1, flags=RESPONSE_FLAG), "not-an-answer"),
    "the version probe itself, echoed": (version_probe(SPI), "ike-version"),
    "the init probe itself, echoed": (init_probe(SPI, NONCE, KE), "not-an-answer"),
    "nothing": (b"", "not-an-answer"),
    "half an answer": (build_message(spi_i=SPI, flags=RESPONSE_FLAG)[:20], "runt"),
}


@pytest.mark.parametrize(("data", "reason"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer(data: bytes, reason: str) -> None:
    """A UDP echo, a stray or a forged packet never makes a server look alive."""
    with pytest.raises(WireError) as caught:
        read_answer(data, SPI)
    assert caught.value.reason == reason


@given(st.binary(max_size=100))
def test_arbitrary_answers_raise_nothing_but_wire_errors(data: bytes) -> None:
    """Whatever follows the probe's SPI is an answer or refused."""
    try:
        answer = read_answer(SPI.to_bytes(8) + data, SPI)
    except WireError:
        return
    assert answer.detail
