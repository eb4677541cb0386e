"""Clients that no flow has, what they send to a service first, and the answers that it gives."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace

from fastpath_world import CLIENT, VIP, Direction, Ends, Family, Outcome, Verdict, World, leaving, packet, to_server
from netaddr import IPAddress

from engine.fastpath.layout import TALLY, Reason, ShieldFlag
from engine.fastpath.layout import Outcome as Kept
from engine.fastpath.shields import end_of, shield_of
from engine.wire.build import Payload, build_message, ke_payload, nonce_payload, notify_payload
from engine.wire.cookie import CookieKeys, cookie_demand
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType

PLACE = 3
IKE_PORT, NAT_T_PORT = 500, 4500
COARSE_CLOCK_S = 0.01
SPI = 0x0102030405060708
KEYS = CookieKeys(number=7, current=bytes(range(16)), previous=bytes(range(100, 116)))
OFFER: list[Payload] = [(PayloadType.SA, bytes(44)), ke_payload(31, bytes(32)), nonce_payload(bytes(32))]
"""No proposal that makes sense: the kernel does not look."""
PROTECTED = ShieldFlag(0)
CHALLENGED = ShieldFlag.ANSWERS


def protect(world: World, keys: CookieKeys | None = None, flags: ShieldFlag = PROTECTED) -> None:
    """Shield the service's ports for both address families, or shield them otherwise."""
    for family in Family:
        address = IPAddress(family.of(VIP))
        for port, more in ((IKE_PORT, ShieldFlag(0)), (NAT_T_PORT, ShieldFlag.NAT_T)):
            world.forwarding.set_shield(end_of(address, port), shield_of(PLACE, keys, flags | more))


def first_message(*before: Payload, **fields: int) -> bytes:
    """An IKE_SA_INIT request, with payloads in front of the usual ones."""
    return build_message([*before, *OFFER], **{"spi_i": SPI, **fields})


def repeated_with(cookie: bytes, **fields: int) -> bytes:
    """The same with a cookie in front."""
    return first_message(notify_payload(NotifyType.COOKIE, cookie), **fields)


def newcomer(family: Family, port: int = IKE_PORT, client_port: int = 40_000) -> Direction:
    """A client's way to a port of the service, which no flow has."""
    known = to_server(family)
    before = replace(known.before, source_port=client_port, destination_port=port)
    return replace(known, before=before)


def on_port(port: int, message: bytes) -> bytes:
    """An IKE message as that port has it."""
    return NON_ESP_MARKER + message if port == NAT_T_PORT else message


def mapped(address: str) -> bytes:
    """An address of either family in 16 bytes."""
    packed: bytes = IPAddress(address).ipv6().packed
    return packed


def demanded(client: Direction, keys: CookieKeys, spi_i: int = SPI) -> bytes:
    """The whole frame that answers a client's first message, as scapy and the slow path write it."""
    ends = client.before
    back = Ends(ends.destination, ends.destination_port, ends.source, ends.source_port)
    message = cookie_demand(spi_i, keys.cookie(mapped(ends.source), spi_i))
    flags = 0 if ":" in ends.source else "DF"
    return bytes(packet(leaving(CLIENT), back, on_port(ends.destination_port, message), flags=flags))


def answered(frame: bytes) -> Outcome:
    """Sent back by the device that the request came in by: redirected to it."""
    return Outcome(Verdict.REDIRECT, frame, {Reason.CHALLENGED: 1})


def kept_off(frame: bytes) -> Outcome:
    """Dropped."""
    return Outcome(Verdict.DROP, frame, {Reason.SHIELDED: 1})


def check_rate(world: World, frame: bytes, *, at_once: int, per_s: int, limited: Kept) -> None:
    """Frames pass at this rate at most, all of them at first, and what does not is dropped and counted."""
    tally, frames = Tally(world), 30 * at_once
    start_s = time.monotonic()
    verdicts = Counter(Verdict(world.forwarding.program.run(frame).verdict) for _ in range(frames))
    took_s = time.monotonic() - start_s
    passed, dropped = verdicts[Verdict.PASS], verdicts[Verdict.DROP]
    # Each CPU counts for itself, by a clock that goes on in steps.
    most = (at_once + per_s * (took_s + COARSE_CLOCK_S)) * len(os.sched_getaffinity(0))
    assert at_once <= passed <= most
    assert passed + dropped == frames
    assert tally.more().get(limited, 0) == dropped


class Tally:
    """What the service's tally says more than when it was last asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before = self._read()

    def more(self) -> dict[Kept, int]:
        """By outcome; only what there is more of."""
        before, self._before = self._before, self._read()
        return {one: self._before[one] - before[one] for one in Kept if self._before[one] > before[one]}

    def _read(self) -> dict[Kept, int]:
        each = [TALLY.unpack(record) for record in self._world.forwarding.read_tally(PLACE)]
        return {one: sum(counts[one] for counts in each) for one in Kept}
