"""Token buckets: so much at once, and so much a second after that."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may pass: `burst` at once, and `rate_per_s` for as long as it takes."""

    burst: float
    rate_per_s: float


class Bucket:
    """How much of an allowance is left."""

    __slots__ = ("_allowance", "_at_s", "_left")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._left = allowance.burst
        self._at_s = 0.0

    def left(self, now_s: float) -> float:
        """How much may pass at once."""
        earned = max(0.0, now_s - self._at_s) * self._allowance.rate_per_s
        return min(self._allowance.burst, self._left + earned)

    def is_full(self, now_s: float) -> bool:
        """Whether it is as if nothing had ever passed."""
        return self.left(now_s) >= self._allowance.burst

    def take(self, now_s: float) -> None:
        """Let one pass; call only while there is one left."""
        self._left = self.left(now_s) - 1
        self._at_s = now_s


class Buckets(Generic[Key]):
    """A bucket for each of many keys, `most` of them: when there are more, the one used longest ago starts anew."""

    def __init__(self, allowance: Allowance, most: int) -> None:
        self._allowance = allowance
        self._most = most
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, key: Key, now_s: float) -> float:
        """How much may pass of a key at once."""
        bucket = self._buckets.get(key)
        return self._allowance.burst if bucket is None else bucket.left(now_s)

    def take(self, key: Key, now_s: float) -> None:
        """Let one of a key pass; call only while there is one left."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = Bucket(self._allowance)
        else:
            self._buckets.move_to_end(key)
        bucket.take(now_s)

    def expire(self, now_s: float, limit: int) -> None:
        """Forget buckets that are full again, looking at `limit` at most, those used longest ago first."""
        for _ in range(min(limit, len(self._buckets))):
            key, bucket = next(iter(self._buckets.items()))
            if not bucket.is_full(now_s):
                return
            del self._buckets[key]
