"""maglev: a client's address decides, by one look into a table that servers fill by weight.

Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import cycle
from math import gcd

from engine.policy.candidate import Candidate, weighted

TABLE_SIZE = 65537
"""Slots; a prime, so that every skip visits all of them."""
KEPT_TABLES = 8
"""Tables of 128 KiB remembered, so that a flapping server does not have one built at each turn."""

Membership = tuple[tuple[str, int], ...]
"""Names and weights, by name: the table does not depend on configuration order."""


class Maglev:
    """The slot of a client's keyed hash names its server.

    Slots go by the configured weight: a slow start would have a table built for every session.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._table = lru_cache(maxsize=KEPT_TABLES)(partial(build_table, key))

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server that holds the client's slot."""
        servers = sorted(weighted(candidates), key=lambda server: server.name)
        if not servers:
            return None
        table = self._table(tuple((server.name, server.weight) for server in servers))
        slot = int.from_bytes(blake2b(client, digest_size=8, key=self._key).digest()) % TABLE_SIZE
        return servers[table[slot]]

    peek = choose


def build_table(key: bytes, members: Membership) -> array[int]:
    """For every slot the index of the member that holds it; takes some 40 ms for eight members."""
    table = array("H", bytes(2 * TABLE_SIZE))
    free = bytearray(b"\x01") * TABLE_SIZE
    take = [_seats(key, name, free) for name, _ in members]
    for _, member in zip(range(TABLE_SIZE), cycle(_turns([weight for _, weight in members])), strict=False):
        slot = take[member]()
        table[slot] = member
        free[slot] = 0
    return table


def _seats(key: bytes, name: str, free: bytearray) -> Callable[[], int]:
    """A member's own order of all slots, less those taken by the time it asks for its next."""
    digest = blake2b(name.encode(), digest_size=16, key=key, person=b"maglev order").digest()
    offset = int.from_bytes(digest[:8]) % TABLE_SIZE
    skip = int.from_bytes(digest[8:]) % (TABLE_SIZE - 1) + 1
    order = (slot % TABLE_SIZE for slot in range(offset, offset + skip * TABLE_SIZE, skip))
    return filter(free.__getitem__, order).__next__


def _turns(weights: list[int]) -> list[int]:
    """One cycle in which members take slots, each as often as its weight, evenly spread."""
    divisor = gcd(*weights)
    total = sum(weights) // divisor
    if total > TABLE_SIZE:
        counts = [max(1, weight // divisor * TABLE_SIZE // total) for weight in weights]
    else:
        counts = [weight // divisor for weight in weights]
    moments = sorted(((turn + 1) / count, member) for member, count in enumerate(counts) for turn in range(count))
    return [member for _, member in moments]
