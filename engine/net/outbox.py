"""Answers on their way to clients: collected over many flows, sent in few system calls."""

from __future__ import annotations

import socket

from engine.net.batches import SLOT_WORDS, SLOTS, Sender, Slots
from engine.net.errors import send_failure
from engine.sessions.flow import Flow


class Outbox:
    """Slots into which real servers' datagrams are received, and the listeners that have some of them to send.

    Receive into `slot_view`, then either queue the datagram with a listener's `Replies` or receive over it.
    """

    def __init__(self) -> None:
        self.slots = Slots()
        self.cursor = 0
        self.waiting: list[Replies] = []

    @property
    def slot_view(self) -> memoryview:
        """Where the next datagram is to be received."""
        return self.slots.views[self.cursor]

    @property
    def first_word(self) -> int:
        """The first four bytes of the slot: 0 for the non-ESP marker."""
        return self.slots.words[self.cursor * SLOT_WORDS]

    def flush(self) -> None:
        """Send everything that is queued."""
        for replies in self.waiting:
            replies.flush()
        self.waiting.clear()
        self.cursor = 0


class Replies:
    """The answers that leave through one listener's socket."""

    def __init__(self, sock: socket.socket, outbox: Outbox) -> None:
        self._outbox = outbox
        self._sender = Sender(sock.fileno(), sock.family, outbox.slots)
        self._flows: list[Flow] = []

    def add(self, flow: Flow, size: int, now_s: float) -> None:
        """Queue the datagram of `size` bytes in the outbox's slot for a flow's client, and count it."""
        outbox, server = self._outbox, flow.server
        if not self._flows:
            outbox.waiting.append(self)
        self._flows.append(flow)
        self._sender.add(outbox.cursor, size, flow.peer)
        outbox.cursor += 1
        flow.packets_out += 1
        flow.bytes_out += size
        server.packets_out += 1
        server.bytes_out += size
        flow.last_out_s = now_s
        if outbox.cursor == SLOTS:
            outbox.flush()

    def flush(self) -> None:
        """Send what is queued; what the kernel refuses is counted as dropped instead."""
        self._sender.flush(self._refused)
        self._flows.clear()

    def _refused(self, place: int, number: int) -> None:
        flow, size = self._flows[place], self._sender.size_of(place)
        flow.service.drops[f"reply-{send_failure(number)}"] += 1
        flow.packets_out -= 1
        flow.bytes_out -= size
        flow.server.packets_out -= 1
        flow.server.bytes_out -= size
