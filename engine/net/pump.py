"""The loop of the slow path: takes turns among all sockets of the data path while any has something."""

from __future__ import annotations

import select
from collections.abc import Callable
from time import perf_counter

import trio

from engine.net.batches import SLOT_WORDS
from engine.net.errors import send_failure
from engine.net.forwarder import Forwarder
from engine.sessions.flow import Flow

READY_AT_ONCE = 512
FEW_READY = 16
DRAINED_FROM_ONE = 32
TURN_S = 0.002
"""How long forwarding may go on before timers, probes and consoles get their turn."""

Drain = Callable[[float], None]
"""Takes the time; forwards a bounded number of datagrams of one socket."""


class Pump:
    """Waits on one epoll for listeners, catch-all sockets and upstream sockets alike.

    Going through trio costs several times what a datagram costs, so the pump asks the epoll itself, round after round,
    and returns to trio when nothing is ready or its time is up. Within a round every socket gets a bounded share.
    """

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._poll = forwarder.upstreams.poll
        self._drains: dict[int, Drain] = {}

    def watch(self, fileno: int, drain: Drain) -> None:
        """Call `drain` whenever a socket is readable."""
        self._drains[fileno] = drain
        self._poll.register(fileno, select.EPOLLIN)

    def forget(self, fileno: int) -> None:
        """Watch a socket no longer; call before it is closed."""
        del self._drains[fileno]
        self._poll.unregister(fileno)

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._poll.fileno())
            until_s = perf_counter() + TURN_S
            while self.round(trio.current_time()) and perf_counter() < until_s:
                pass

    def round(self, now_s: float) -> bool:
        """Forward a share of what every ready socket has; says whether any was ready."""
        ready = self._poll.poll(0, READY_AT_ONCE)
        flows = self._forwarder.upstreams.flows
        # Asking a socket until it is empty costs a failing call each: worth it only when few are busy.
        repeats = DRAINED_FROM_ONE if len(ready) <= FEW_READY else 1
        for fileno, _ in ready:
            if flow := flows.get(fileno):
                self._drain_upstream(flow, repeats, now_s)
            elif drain := self._drains.get(fileno):
                drain(now_s)
        self._forwarder.outbox.flush()
        return bool(ready)

    def _drain_upstream(self, flow: Flow, repeats: int, now_s: float) -> None:
        outbox = self._forwarder.outbox
        views, words = outbox.slots.views, outbox.slots.words
        for _ in range(repeats):
            if flow.upstream is None:
                return
            slot = outbox.cursor
            try:
                size = flow.upstream.recv_into(views[slot])
            except BlockingIOError:
                return
            except OSError as error:
                # ICMP errors arrive so on connected sockets.
                flow.service.drops[send_failure(error.errno)] += 1
                return
            # The shortcut that carries the load: ESP of a flow whose sessions are all established.
            if flow.settled and flow.port and size >= 8 and words[slot * SLOT_WORDS] and flow.listener:
                flow.listener.reply(flow, size, now_s)
            else:
                self._forwarder.from_server(flow, size, now_s)
