"""How many sessions may begin without an IKE_SA_INIT: with packets that say nothing of where they belong."""

from __future__ import annotations

from engine.policy.buckets import Allowance, Bucket, Buckets

OF_SERVICE = Allowance(burst=20_000, rate_per_s=2_000)
"""After a restart of the engine every tunnel comes this way: this many are back at once, the others with one of their
next packets, a hundred thousand within three quarters of a minute. A flood at that rate costs the slow path a fifth
of a core at most."""
OF_SOURCE = Allowance(burst=1_000, rate_per_s=50)
"""One address may be an office with hundreds of tunnels."""
SOURCES_KEPT = 4_096


class Unannounced:
    """Limits the sessions of one service that are begun by ESP, or by IKE in the middle of a conversation.

    Anybody can send such packets under any address, and each makes a session that lives until its real server has
    been silent about it for a while. IKE_SA_INIT is limited elsewhere: see `engine.sessions.newcomers`.
    """

    def __init__(self) -> None:
        self._service = Bucket(OF_SERVICE)
        self._sources: Buckets[str] = Buckets(OF_SOURCE, SOURCES_KEPT)

    def __len__(self) -> int:
        """How many sources are being counted."""
        return len(self._sources)

    def admit(self, source: str, now_s: float, *, known: bool) -> bool:
        """Whether one more of a source may begin; `known`: it has sessions, and no flood of others may keep it out."""
        if self._sources.left(source, now_s) < 1:
            return False
        if not known:
            if self._service.left(now_s) < 1:
                return False
            self._service.take(now_s)
        self._sources.take(source, now_s)
        return True

    def expire(self, now_s: float) -> None:
        """Forget sources that sent nothing for a while."""
        self._sources.expire(now_s, SOURCES_KEPT)
