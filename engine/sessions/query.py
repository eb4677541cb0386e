"""Conditions on sessions: what the operator asks of the session table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from engine.config.durations import parse_duration
from engine.sessions.persistence import packed
from engine.sessions.session import Phase, Session
from engine.sessions.trouble import last_trouble
from engine.wire.cleartext import read_vendor_ids
from engine.wire.errors import WireError
from engine.wire.vendors import vendor_name

SLICE = 1_000
PATHS = ("slow", "fast")
PHASES = tuple(phase for phase in Phase if phase is not Phase.CLOSED)
"""Those that a session in the table can be in."""
UNTOLD = "-"
"""How lists show that something is not known."""
SPI_DIGITS = 16
ESP_SPI_DIGITS = 8

Test = Callable[[Session, float], bool]
"""Whether a session meets a condition at a time in seconds."""

Thing = TypeVar("Thing")

_SPELLED_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{1,45}(%[\w.:@-]{1,15})?(/[0-9.]{1,15})?", re.ASCII)
"""An address or prefix as far as its characters go: `ipaddress` lets anything pass for a zone after a %."""

_BYTES = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)([kmg]?)b?", re.ASCII | re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class BadQuery(ValueError):
    """A query that makes no sense; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What passed for one session."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int


def totals(session: Session) -> Totals:
    """Packets and bytes of a session: of ended flows, and of those whose ESP is taken to be its."""
    packets_in, bytes_in = session.ended_packets_in, session.ended_bytes_in
    packets_out, bytes_out = session.ended_packets_out, session.ended_bytes_out
    for flow in session.flows:
        if flow.owner is session:
            packets_in += flow.packets_in
            bytes_in += flow.bytes_in
            packets_out += flow.packets_out
            bytes_out += flow.bytes_out
    return Totals(packets_in, bytes_in, packets_out, bytes_out)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that a session must all meet."""

    tests: tuple[Test, ...] = ()

    def among(self, sessions: list[Session], now_s: float) -> list[Session]:
        """Those of some sessions that meet every condition, in the same order."""
        for test in self.tests:
            sessions = [session for session in sessions if test(session, now_s)]
        return sessions


def make_filter(
    *,
    service: str | None = None,
    server: str | None = None,
    client: str | None = None,
    spi: str | None = None,
    phase: str | None = None,
    vendor: str | None = None,
    error: str | None = None,
    idle_over_s: float | None = None,
) -> Filter:
    """A filter from what the operator typed.

    Raises:
        BadQuery: the client is no address, the SPI not hexadecimal, or the phase unknown.
    """
    named = {
        "service": service,
        "server": server,
        "client": client,
        "spi": spi,
        "phase": phase,
        "vendor": vendor,
        "error": error,
    }
    tests = [make_test(key, value) for key, value in named.items() if value is not None]
    if idle_over_s is not None:
        tests.append(_compared(_idle_s, ">", idle_over_s))
    return Filter(tuple(tests))


def make_test(key: str, value: str) -> Test:
    """A condition of a kind: `server`, `phase`, `idle>`, ...; names match in any case, with a last * as a prefix.

    Raises:
        BadQuery: there is no such kind, or the value does not fit it.
    """
    match key:
        case "service":
            return _named(key, value, lambda session: session.service.name)
        case "server":
            return _named(key, value, lambda session: session.server.name)
        case "phase":
            return _in_phase(value)
        case "path":
            return _one_of(key, value, PATHS, path)
        case "client":
            return _among_addresses(parse_clients(value))
        case "spi":
            return _spi_begins(value)
        case "vendor":
            return _vendor_begins(value)
        case "error":
            return _error_has(value)
        case "why":
            return _why_has(value)
        case "idle>" | "idle<":
            return _compared(_idle_s, key[-1], _seconds(value))
        case "age>" | "age<":
            return _compared(lambda session, now_s: now_s - session.created_s, key[-1], _seconds(value))
        case "in>" | "in<":
            return _compared(lambda session, now_s: totals(session).bytes_in, key[-1], _bytes(value))
        case "out>" | "out<":
            return _compared(lambda session, now_s: totals(session).bytes_out, key[-1], _bytes(value))
        case "pinned":
            return lambda session, now_s: is_pinned(session)
        case _:
            raise BadQuery(f"sessions have no {key!r}")


def any_of(tests: Sequence[Test]) -> Test:
    """A condition that holds where one of these does."""
    if len(tests) == 1:
        return tests[0]

    def test(session: Session, now_s: float) -> bool:
        # A generator for each session would take three times as long.
        for one in tests:  # noqa: SIM110
            if one(session, now_s):
                return True
        return False

    return test


def none_of(tests: Sequence[Test]) -> Test:
    """A condition that holds where none of these does."""
    some = any_of(tests)
    return lambda session, now_s: not some(session, now_s)


def parse_network(client: str) -> IPv4Network | IPv6Network:
    """An address or a prefix; raises BadQuery."""
    try:
        if not _SPELLED_ADDRESS.fullmatch(client):
            raise ValueError
        return ip_network(client, strict=False)
    except ValueError:
        raise BadQuery(
            f"{client[:80]!r} is no address: write one such as 198.51.100.7, or a prefix such as 198.51.100.0/24"
        ) from None


def parse_clients(text: str) -> IPv4Network | IPv6Network:
    """An address, a prefix, or the first numbers of an address up to a dot or colon: `203.0.113.`; raises BadQuery."""
    begun = text.removesuffix("*")
    if begun.endswith(".") and 1 <= begun.count(".") <= 3:
        numbers = begun.count(".")
        return parse_network(f"{begun}{'.'.join(['0'] * (4 - numbers))}/{8 * numbers}")
    if begun.endswith(":") and not begun.endswith("::") and "::" not in begun and 1 <= begun.count(":") <= 7:
        return parse_network(f"{begun}:/{16 * begun.count(':')}")
    return parse_network(text)


def in_network(host: str, network: IPv4Network | IPv6Network) -> bool:
    """Whether a client address lies in a network."""
    address = ip_address(host.partition("%")[0])
    return address.version == network.version and address in network


def address_key(host: str) -> str:
    """An address as text that sorts as addresses do: IPv4 before IPv6, then by number."""
    return ("6" if ":" in host else "4") + packed(host).decode("latin-1")


def host_key(session: Session) -> str:
    """The `address_key` of the address that began a session."""
    if not session.host_key:
        session.host_key = address_key(session.host)
    return session.host_key


def path(session: Session) -> str:
    """Which path a session's data takes."""
    return "fast" if any(flow.fast for flow in session.flows) else "slow"


def vendor_of(session: Session) -> str:
    """The client's product as far as its vendor ids tell; empty: it sent none, or none that is known."""
    if session.vendor is None:
        try:
            session.vendor = vendor_name(read_vendor_ids(session.init_message)) if session.init_message else ""
        except WireError as error:
            session.vendor = f"unreadable IKE_SA_INIT: {error}"
    return session.vendor


def is_pinned(session: Session) -> bool:
    """Whether the operator bound the session's client to the real server it is on."""
    pin = session.service.pin_of(session.host)
    return pin is not None and pin.server is session.server


def slices(things: list[Thing]) -> Iterator[list[Thing]]:
    """Cut a list into pieces that are looked through in a few milliseconds at most."""
    return (things[start : start + SLICE] for start in range(0, len(things), SLICE))


def _named(key: str, value: str, name_of: Callable[[Session], str]) -> Test:
    if not value:
        raise BadQuery(f"name a {key}, or the beginning of its name and *")
    wanted = value.lower()

    @cache
    def meant(name: str) -> bool:
        name = name.lower()
        return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted

    return lambda session, now_s: meant(name_of(session))


def _one_of(key: str, value: str, known: Sequence[str], value_of: Callable[[Session], str]) -> Test:
    wanted = value.lower()
    if wanted not in known:
        raise BadQuery(f"there is no {key} {value!r}: write one of {', '.join(known)}")
    return lambda session, now_s: value_of(session) == wanted


def _in_phase(value: str) -> Test:
    if value.lower() == Phase.CLOSED:
        raise BadQuery("closed sessions are in no list: `ikeconsole events` tells how they ended")
    return _one_of("phase", value, PHASES, lambda session: session.phase)


def _vendor_begins(value: str) -> Test:
    wanted = value.lower().removesuffix("*")
    if not value:
        raise BadQuery("write how the product's name begins, such as windows, or - for clients that do not tell")
    if wanted == UNTOLD:
        return lambda session, now_s: not vendor_of(session)
    return lambda session, now_s: vendor_of(session).lower().startswith(wanted)


def _error_has(value: str) -> Test:
    wanted = value.lower().removesuffix("*")
    if not value:
        raise BadQuery("write a part of the error's name, such as no_proposal or auth, or * for any")

    def test(session: Session, now_s: float) -> bool:
        trouble = last_trouble(session, now_s)
        return trouble is not None and wanted in trouble.name.lower()

    return test


def _among_addresses(network: IPv4Network | IPv6Network) -> Test:
    low, high = address_key(str(network[0])), address_key(str(network[-1]))

    def test(session: Session, now_s: float) -> bool:
        host = session.host
        if low <= (session.host_key or host_key(session)) <= high:
            return True
        for flow in session.flows:
            roamed = flow.client[0]
            if roamed != host and low <= address_key(roamed) <= high:
                return True
        return False

    return test


def _spi_begins(value: str) -> Test:
    digits = value.lower().removeprefix("0x").removesuffix("*")
    if not 1 <= len(digits) <= SPI_DIGITS or not all(digit in "0123456789abcdef" for digit in digits):
        raise BadQuery(f"an SPI begins with up to {SPI_DIGITS} hexadecimal digits, not {value!r}")
    wanted, shift, esp_shift = int(digits, 16), 4 * (SPI_DIGITS - len(digits)), 4 * (ESP_SPI_DIGITS - len(digits))

    def begins(pair: tuple[int, int]) -> bool:
        spi_i, spi_r = pair
        return spi_i >> shift == wanted or (spi_r >> shift == wanted and spi_r > 0)

    def esp_begins(spi: int) -> bool:
        return spi >> esp_shift == wanted

    def test(session: Session, now_s: float) -> bool:
        if any(map(begins, session.spis)):
            return True
        return esp_shift >= 0 and (any(map(esp_begins, session.esp_in)) or any(map(esp_begins, session.esp_out)))

    return test


def _why_has(value: str) -> Test:
    wanted = value.lower()
    if not wanted:
        raise BadQuery("write a part of the reason, such as persistence, scheduled or following")
    return lambda session, now_s: wanted in session.why.lower()


def _compared(number_of: Callable[[Session, float], float], sign: str, bound: float) -> Test:
    if sign == ">":
        return lambda session, now_s: number_of(session, now_s) > bound
    return lambda session, now_s: number_of(session, now_s) < bound


def _idle_s(session: Session, now_s: float) -> float:
    return now_s - session.last_activity_s()


def _seconds(value: str) -> float:
    try:
        return float(parse_duration(value))
    except ValueError as error:
        raise BadQuery(str(error)) from None


def _bytes(value: str) -> float:
    spelled = _BYTES.fullmatch(value)
    if spelled is None:
        raise BadQuery(f"{value!r} is no number of bytes: write for example 500k, 20M or 1.5G")
    return float(spelled[1]) * _MULTIPLES[spelled[2].lower()]
