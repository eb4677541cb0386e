"""Puts the return path back when a firewall, a network service or a person takes it away."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from typing import Final

import trio

from engine.events import EventLog
from engine.net.kernel_news import KernelNews
from engine.net.return_path import ReturnPath
from engine.net.transparent import ROUTE_TABLE, Part, PlumbingError
from engine.wording import listed

SETTLE_S: Final = 0.2
"""A firewall that restarts flushes first and loads its own rules after: both are over by then, mostly."""
PAUSE_S: Final = 1.0
CONTESTED: Final = 3
"""So often within `LATELY_S`, and somebody is at it all the time."""
CONTESTED_PAUSE_S: Final = 5.0
"""Two that put back their own again and again, such as two engines, must not wear the machine out."""
LATELY_S: Final = 60.0
TRIED_AGAIN_S: Final = 5.0

_LIKELY: Final = {
    Part.TABLE: "`nft flush ruleset` takes that away, and with it a restart of nftables.service",
    Part.RULE: "`ip rule flush` takes that away, and systemd-networkd when it restarts without "
    "ManageForeignRoutingPolicyRules=no in networkd.conf",
    Part.ROUTE: f"`ip route flush table {ROUTE_TABLE}` takes that away, lo going down, and systemd-networkd when it "
    "restarts without ManageForeignRoutes=no in networkd.conf",
}


class Upkeep:
    """Looks after one return path. `failure` says what stands in the way while it cannot be put back."""

    def __init__(self, path: ReturnPath, events: EventLog) -> None:
        self.failure = ""
        self.unsure = False
        """Whether it could not even be looked at, for want of files or memory, when it failed."""
        self._path = path
        self._events = events
        self._restored_s: deque[float] = deque(maxlen=100)

    async def run(self) -> None:
        """Look whenever the kernel tells of a change, until cancelled; costs nothing while nothing changes."""
        await self._path.opened.wait()
        try:
            news = KernelNews()
        except OSError as error:
            text = f"the return path is not watched, who takes it away stays unnoticed: {error.strerror}"
            self._events.add("warning", "return-path-unwatched", text)
            return
        with news:
            while True:
                await self._look()
                await trio.sleep(CONTESTED_PAUSE_S if self.restored_lately() >= CONTESTED else PAUSE_S)
                with trio.move_on_after(TRIED_AGAIN_S if self.failure else math.inf):
                    await news.touched()
                    await trio.sleep(SETTLE_S)

    def restored_lately(self) -> int:
        """How often it had to be put back in the last minute."""
        since_s = trio.current_time() - LATELY_S
        return sum(at_s > since_s for at_s in self._restored_s)

    async def _look(self) -> None:
        try:
            restored = await self._path.restore()
        except (PlumbingError, OSError) as error:
            self.failure, self.unsure = str(error), isinstance(error, OSError)
            return
        self.failure = ""
        if restored:
            self._restored_s.append(trio.current_time())
            # From then on an alarm says it.
            if self.restored_lately() <= CONTESTED:
                self._events.add("warning", "return-path-restored", _told(restored))


def _told(restored: Collection[Part]) -> str:
    """What was gone, and what likely did it."""
    gone, likely = listed([part.value for part in restored]), "; ".join(_LIKELY[part] for part in restored)
    return f"{gone} had been taken away: put back, clients of transparent services get answers again; {likely}"
