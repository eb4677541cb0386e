"""What protects the services in the kernel: garbage ends there, and newcomers are challenged while a flood is on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final, Protocol

from netaddr import IPAddress

from engine.fastpath.layout import MAX_SERVICES, SERVICE_END, SHIELD, TALLY, Outcome, ShieldFlag
from engine.sessions.service import Service
from engine.wire.cookie import KEY_SIZE_BYTES, CookieKeys

_NO_KEY: Final = bytes(KEY_SIZE_BYTES)


class ShieldMaps(Protocol):
    """The program's maps, as far as shields need them."""

    def set_shield(self, end: bytes, shield: bytes) -> None:
        """Protect one end of a service in this way from now on."""
        ...

    def remove_shield(self, end: bytes) -> None:
        """Protect an end no longer."""
        ...

    def read_tally(self, place: int) -> list[bytes]:
        """What was counted at a place, for each CPU."""
        ...


class Shields:
    """Keeps the program's shields in step with the services, and tells these what was kept off."""

    def __init__(self, maps: ShieldMaps) -> None:
        self._maps = maps
        self._places: dict[Service, int] = {}
        self._free = deque(range(MAX_SERVICES))
        self._counted: dict[int, Counter[Outcome]] = {}
        """What was counted at each place in use, as last read."""
        self._shields: dict[bytes, bytes] = {}
        """What the program has, by end."""

    def follow(self, services: Mapping[Service, CookieKeys | None], flags: ShieldFlag) -> None:
        """Protect these services and no others, those with keys by a challenge; `flags` hold for each of them.

        There are `MAX_SERVICES` places: what is beyond them is left to the slow path. Raises BpfError.
        """
        self.collect()
        for service in self._places.keys() - services.keys():
            place = self._places.pop(service)
            del self._counted[place]
            self._free.append(place)
        wanted: dict[bytes, bytes] = {}
        for service, keys in services.items():
            if service not in self._places:
                if not self._free:
                    continue
                place = self._places[service] = self._free.popleft()
                self._counted[place] = self._read(place)
            place, config = self._places[service], service.config
            wanted[end_of(config.address, config.ike_port)] = shield_of(place, keys, flags)
            wanted[end_of(config.address, config.nat_t_port)] = shield_of(place, keys, flags | ShieldFlag.NAT_T)
        for end in self._shields.keys() - wanted.keys():
            self._maps.remove_shield(end)
        for end, shield in wanted.items():
            if self._shields.get(end) != shield:
                self._maps.set_shield(end, shield)
        self._shields = wanted

    def collect(self) -> None:
        """Add to the services' counters what was kept off since; raises BpfError."""
        for service, place in self._places.items():
            before, counted = self._counted[place], self._read(place)
            self._counted[place] = counted
            kept_off = counted - before
            refused = kept_off.pop(Outcome.COOKIE_REFUSED, 0)
            service.newcomers.cookies_refused += refused
            # Whoever brings a cookie that does not count is given another one.
            service.newcomers.challenges_sent += kept_off.pop(Outcome.CHALLENGED, 0) + refused
            service.drops.update({outcome.slug: count for outcome, count in kept_off.items()})

    def _read(self, place: int) -> Counter[Outcome]:
        each = [TALLY.unpack(record) for record in self._maps.read_tally(place)]
        return Counter({outcome: sum(counts[outcome] for counts in each) for outcome in Outcome})


def end_of(address: IPAddress, port: int) -> bytes:
    """One end of a service, as the program looks for it."""
    return SERVICE_END.pack(address.ipv6().packed, port.to_bytes(2, "big"))


def shield_of(place: int, keys: CookieKeys | None, flags: ShieldFlag) -> bytes:
    """What protects an end of the service that is counted at a place; it challenges where there are keys."""
    if keys is None:
        return SHIELD.pack(_NO_KEY, _NO_KEY, place, 0, flags)
    return SHIELD.pack(keys.current, keys.previous, place, keys.number, flags | ShieldFlag.CHALLENGES)
