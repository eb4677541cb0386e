"""What the program is told to keep from the services, and how they learn what it did: maps as plain dictionaries."""

from __future__ import annotations

import random

import pytest
from netaddr import IPAddress

from engine.config.schema import Service as ServiceConfig
from engine.fastpath.layout import MAX_SERVICES, SERVICE_END, SHIELD, TALLY, Outcome, ShieldFlag
from engine.fastpath.shields import Shields
from engine.policy.schedulers import make_scheduler
from engine.sessions.service import Service
from engine.wire.cookie import CookieKeys

KEYS = CookieKeys(number=255, current=b"c" * 16, previous=b"p" * 16)


class MapsDouble:
    """The program's maps; two CPUs have counted."""

    def __init__(self) -> None:
        self.shields: dict[bytes, bytes] = {}
        self.written = 0
        self._counts: dict[int, list[int]] = {}

    def set_shield(self, end: bytes, shield: bytes) -> None:
        self.shields[end] = shield
        self.written += 1

    def remove_shield(self, end: bytes) -> None:
        del self.shields[end]

    def read_tally(self, place: int) -> list[bytes]:
        counts = self._counts.get(place, [0] * len(Outcome))
        return [TALLY.pack(*([1] * len(Outcome))), TALLY.pack(*counts)]

    def count(self, place: int, outcome: Outcome, more: int) -> None:
        self._counts.setdefault(place, [0] * len(Outcome))[outcome] += more

    def ends(self) -> dict[tuple[str, int], tuple[int, int, ShieldFlag]]:
        """Place, key number and flags by address and port."""
        told = {}
        for end, shield in self.shields.items():
            address, port = SERVICE_END.unpack(end)
            _, _, place, number, flags = SHIELD.unpack(shield)
            told[str(IPAddress(int.from_bytes(address, "big"), 6)), int.from_bytes(port, "big")] = place, number, flags
        return {key: (place, number, ShieldFlag(flags)) for key, (place, number, flags) in told.items()}


def service(address: str = "203.0.113.10", *, ike_port: int = 500) -> Service:
    config = ServiceConfig(name=f"vpn-{address}", address=IPAddress(address), ike_port=ike_port)
    return Service(config, {}, make_scheduler(config.scheduler, key=bytes(16), random=random.Random(1)), (), 10)


@pytest.fixture
def maps() -> MapsDouble:
    return MapsDouble()


@pytest.fixture
def shields(maps: MapsDouble) -> Shields:
    return Shields(maps)


def test_both_ports_of_every_service_are_shielded(maps: MapsDouble, shields: Shields) -> None:
    """Each service counted at a place of its own, challenged or not as its keys say, all flags as told."""
    quiet, flooded = service(), service("2001:db8::10", ike_port=1500)
    shields.follow({quiet: None, flooded: KEYS}, ShieldFlag.ANSWERS)
    flooded_flags = ShieldFlag.ANSWERS | ShieldFlag.CHALLENGES
    assert maps.ends() == {
        ("::ffff:203.0.113.10", 500): (0, 0, ShieldFlag.ANSWERS),
        ("::ffff:203.0.113.10", 4500): (0, 0, ShieldFlag.ANSWERS | ShieldFlag.NAT_T),
        ("2001:db8::10", 1500): (1, 255, flooded_flags),
        ("2001:db8::10", 4500): (1, 255, flooded_flags | ShieldFlag.NAT_T),
    }
    end = SERVICE_END.pack(IPAddress("2001:db8::10").packed, (4500).to_bytes(2, "big"))
    assert SHIELD.unpack(maps.shields[end])[:2] == (KEYS.current, KEYS.previous)


def test_only_what_changes_is_written(maps: MapsDouble, shields: Shields) -> None:
    """New keys are, and the challenge's end; a service that is gone, or moved, leaves nothing behind."""
    one, other = service(), service("203.0.113.11")
    shields.follow({one: KEYS, other: None}, ShieldFlag(0))
    shields.follow({one: KEYS, other: None}, ShieldFlag(0))
    assert maps.written == 4
    shields.follow({one: KEYS.successor(b"n" * 16), other: None}, ShieldFlag(0))
    assert maps.written == 6
    assert maps.ends()["::ffff:203.0.113.10", 500] == (0, 0, ShieldFlag.CHALLENGES)
    one.config = ServiceConfig(name="vpn", address=IPAddress("203.0.113.12"))
    shields.follow({one: None}, ShieldFlag.LIMITS)
    assert maps.ends() == {
        ("::ffff:203.0.113.12", 500): (0, 0, ShieldFlag.LIMITS),
        ("::ffff:203.0.113.12", 4500): (0, 0, ShieldFlag.LIMITS | ShieldFlag.NAT_T),
    }


def test_a_service_counts_what_was_kept_from_it(maps: MapsDouble, shields: Shields) -> None:
    """Under the slow path's names and once, whatever its place had counted before; a wrong cookie draws a challenge."""
    flooded = service()
    maps.count(0, Outcome.RUNT, 1000)
    shields.follow({flooded: KEYS}, ShieldFlag.ANSWERS)
    flooded.drops["runt"] = 5
    for outcome, more in ((Outcome.RUNT, 3), (Outcome.UNKNOWN_SPI_LIMIT, 4)):
        maps.count(0, outcome, more)
    for outcome, more in ((Outcome.CHALLENGED, 70), (Outcome.COOKIE_REFUSED, 2)):
        maps.count(0, outcome, more)
    for _ in range(2):
        shields.collect()
        assert flooded.drops == {"runt": 8, "unknown-spi-limit": 4}
        assert (flooded.newcomers.challenges_sent, flooded.newcomers.cookies_refused) == (72, 2)


def test_what_is_counted_last_is_not_lost(maps: MapsDouble, shields: Shields) -> None:
    """A service that is taken away has all of it."""
    gone = service()
    shields.follow({gone: None}, ShieldFlag(0))
    maps.count(0, Outcome.IKE_V1, 2)
    shields.follow({}, ShieldFlag(0))
    assert (gone.drops, maps.shields) == ({"ike-v1": 2}, {})


def test_services_beyond_the_last_place_are_left_to_the_slow_path(maps: MapsDouble, shields: Shields) -> None:
    """And have one when another is gone, of whose counts they know nothing."""
    services = [service(f"10.0.{number // 250}.{number % 250 + 1}") for number in range(MAX_SERVICES + 1)]
    shields.follow(dict.fromkeys(services), ShieldFlag(0))
    assert len(maps.shields) == 2 * MAX_SERVICES
    last = (f"::ffff:{services[-1].config.address}", 500)
    assert last not in maps.ends()
    maps.count(0, Outcome.RUNT, 7)
    shields.follow(dict.fromkeys(services[1:]), ShieldFlag(0))
    shields.collect()
    assert maps.ends()[last] == (0, 0, ShieldFlag(0))
    assert (services[0].drops, services[-1].drops) == ({"runt": 7}, {})
