"""The loop of the slow path: takes turns among all sockets of the data path while any has something."""

from __future__ import annotations

import select
from collections.abc import Callable
from time import perf_counter

import trio

from engine.net.errors import send_failure
from engine.net.forwarder import Forwarder
from engine.sessions.flow import Flow

READY_AT_ONCE = 512
FEW_READY = 16
DRAINED_FROM_ONE = 32
TURN_S = 0.004
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
            now_s = trio.current_time()
            while busy := self.round(now_s):
                if perf_counter() > until_s:
                    break
                now_s = trio.current_time()
            if not busy:
                self._forwarder.fast_path.at_rest(now_s)

    def round(self, now_s: float) -> bool:
        """Forward a share of what every ready socket has; says whether any was ready."""
        ready = self._poll.poll(0, READY_AT_ONCE)
        if len(ready) > FEW_READY:
            self._take_one_each(ready, now_s)
        else:
            # Asking a socket until it is empty costs a failing call: worth it only when few are busy.
            flow_of = self._forwarder.upstreams.flows.get
            for fileno, _ in ready:
                if flow := flow_of(fileno):
                    self._empty(flow, now_s)
                else:
                    self._drain(fileno, now_s)
        self._forwarder.upstreams.flush()
        self._forwarder.outbox.flush()
        return bool(ready)

    def _drain(self, fileno: int, now_s: float) -> None:
        # None: the socket was closed earlier in this round.
        if drain := self._drains.get(fileno):
            drain(now_s)

    def _take_one_each(self, ready: list[tuple[int, int]], now_s: float) -> None:
        forwarder = self._forwarder
        flow_of, outbox = forwarder.upstreams.flows.get, forwarder.outbox
        views, first_words = outbox.views, outbox.first_words
        for fileno, _ in ready:
            flow = flow_of(fileno)
            if flow is None:
                self._drain(fileno, now_s)
                continue
            slot = outbox.cursor
            try:
                size = flow.receive(views[slot])  # type: ignore[misc]  # a flow with a socket has it
            except OSError as error:
                note_refusal(flow, error)
                continue
            # The shortcut that carries the load: ESP of a flow whose sessions are all established.
            if flow.settled and size >= 8 and first_words[slot] in flow.esp_out:
                flow.listener.reply(flow, size, now_s)  # type: ignore[union-attr]  # so is its listener
            else:
                forwarder.from_server(flow, size, now_s)

    def _empty(self, flow: Flow, now_s: float) -> None:
        forwarder, outbox = self._forwarder, self._forwarder.outbox
        for _ in range(DRAINED_FROM_ONE):
            if flow.receive is None:
                return
            try:
                size = flow.receive(outbox.slot_view)
            except OSError as error:
                note_refusal(flow, error)
                return
            if flow.settled and size >= 8 and outbox.first_words[outbox.cursor] in flow.esp_out and flow.listener:
                flow.listener.reply(flow, size, now_s)
            else:
                forwarder.from_server(flow, size, now_s)


def note_refusal(flow: Flow, error: OSError) -> None:
    """Count what a connected socket reports in place of a datagram: ICMP errors arrive so."""
    if not isinstance(error, BlockingIOError):
        flow.service.drops[send_failure(error.errno)] += 1
