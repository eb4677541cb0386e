"""The IKE SAs of a service that are being set up, by source, and what came of those that were asked for a cookie."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network
from operator import itemgetter

from engine.config.schema import CookieChallenge
from engine.config.schema import Service as ServiceConfig
from engine.policy.admission import Flood, Verdict, judge, linger, watch

SOURCE_PREFIX_V6 = 64
"""Whoever has one IPv6 address has as many as this: counted singly they would never reach a limit."""
SOURCES_COMPARED = 5_000
TICK_S = 1.0

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_ALWAYS, _AUTO = CookieChallenge.ALWAYS, CookieChallenge.AUTO


class Newcomers:
    """Counts half-open sessions, cookies demanded and brought, and knows of the flood that follows from both."""

    def __init__(self) -> None:
        self.flood: Flood | None = None
        self.challenges_sent = 0
        """By the fast path too, which counts here what it sent and refused a little later."""
        self.cookies_accepted = 0
        self.cookies_refused = 0
        self.unanswered_per_s = 0.0
        """Challenges that nobody answered, of late."""
        self._source_of: dict[int, str] = {}
        """By the number of each half-open session: its client may move meanwhile."""
        self._by_source: dict[str, int] = {}
        self._lingering = 0.0
        self._unanswered = 0
        self._looked_s = 0.0

    @property
    def half_open(self) -> int:
        """Sessions that are being set up."""
        return len(self._source_of)

    def busiest_source(self) -> tuple[str, int]:
        """The source that most of these are from, and how many; nothing if there are too many sources to look at."""
        if not 0 < len(self._by_source) <= SOURCES_COMPARED:
            return "", 0
        return max(self._by_source.items(), key=itemgetter(1))

    def enter(self, number: int, host: str) -> None:
        """A half-open session of a client address began with an IKE_SA_INIT request, or has repeated it."""
        if number not in self._source_of:
            source = self._source_of[number] = source_of(host)
            self._by_source[source] = self._by_source.get(source, 0) + 1

    def leave(self, number: int) -> None:
        """A session is half-open no longer; one that is not known here began otherwise, such as after a restart."""
        if source := self._source_of.pop(number, ""):
            if left := self._by_source[source] - 1:
                self._by_source[source] = left
            else:
                del self._by_source[source]

    def of_source(self, host: str) -> int:
        """Half-open sessions of a client address, or in IPv6 of the site that it is of."""
        return self._by_source.get(source_of(host), 0)

    def challenging(self, config: ServiceConfig) -> bool:
        """Whether newcomers are asked for cookies now."""
        asked = config.cookie_challenge
        return asked is _ALWAYS or (asked is _AUTO and self.flood is not None)

    def judge(self, config: ServiceConfig, host: str, *, challenging: bool, proven: bool) -> Verdict:
        """Whether an IKE SA of a client address may begin; `proven`: it brought a cookie that was sent there."""
        return judge(
            challenging=challenging,
            proven=proven,
            half_open=self.half_open,
            half_open_limit=config.half_open_limit,
            half_open_of_source=self.of_source(host),
            half_open_per_source=config.half_open_per_source,
        )

    def brace(self, config: ServiceConfig, now_s: float) -> None:
        """Find out whether a flood begins, with every newcomer: in a second there could be very many."""
        if self.flood is None and self.half_open > config.cookie_threshold:
            self.flood = watch(None, self.half_open, config.cookie_threshold, now_s)

    def look(self, config: ServiceConfig, now_s: float) -> None:
        """Find out whether a flood begins or ends, once a tick."""
        since_s, self._looked_s = max(TICK_S, now_s - self._looked_s), now_s
        unanswered = self.challenges_sent - self.cookies_accepted
        added, self._unanswered = unanswered - self._unanswered, unanswered
        self.unanswered_per_s = max(0, added) / since_s
        threshold = config.cookie_threshold
        self._lingering = linger(self._lingering, added, since_s, config.timeouts.half_open_s, threshold)
        self.flood = watch(self.flood, self.half_open + max(0.0, self._lingering), threshold, now_s)


def source_of(host: str) -> str:
    """What counts as one source of sessions: an IPv4 address, the /64 of an IPv6 address."""
    return _site_of(host) if ":" in host else host


@lru_cache(maxsize=4096)
def _site_of(host: str) -> str:
    return str(IPv6Network((host.partition("%")[0], SOURCE_PREFIX_V6), strict=False))
