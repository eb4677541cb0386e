"""Answers on their way to clients: collected over many flows, sent in few system calls."""

from __future__ import annotations

import socket
from collections import Counter

from engine.net.batches import LAST_SLOT, NAME_BYTES, SLOTS, Sender, Slots, raw_bytes
from engine.net.errors import send_failure
from engine.sessions.flow import Flow


class Outbox:
    """Slots into which real servers' datagrams are received, and from which listeners send them on.

    Receive into `slot_view`, then either queue the datagram with a listener's `Replies` or receive over it. Or flush
    and receive a batch into the first slots, then either queue or pass over each of its datagrams in turn.
    """

    def __init__(self) -> None:
        self.slots = Slots()
        self.views, self.first_words = self.slots.views, self.slots.first_words
        self.cursor = 0
        self.flows: list[Flow | None] = [None] * SLOTS
        """Whose datagram lies in each slot."""
        self.sender: Replies | None = None
        """The listener that all queued datagrams are for: they leave before another one queues."""
        self._first = 0

    @property
    def slot_view(self) -> memoryview:
        """Where the next datagram is to be received."""
        return self.views[self.cursor]

    def hand_over(self, sender: Replies) -> None:
        """Send what is queued for another listener; what comes now is for this one."""
        if self.sender is not None:
            self.sender.send(self._first, self.cursor)
        self._first = self.cursor
        self.sender = sender

    def pass_over(self) -> None:
        """Leave out the datagram in the slot: the next one lies in the next slot."""
        following = self.cursor + 1
        self.flush()
        self.cursor = following % SLOTS

    def flush(self) -> None:
        """Send everything that is queued."""
        if self.sender is not None:
            self.sender.send(self._first, self.cursor)
            self.sender = None
        self._first = self.cursor = 0


class Replies:
    """The answers that leave through one listener's socket."""

    def __init__(self, sock: socket.socket, outbox: Outbox, drops: Counter[str]) -> None:
        """Answer through a listener's socket; `drops` counts what the kernel refuses, by reason."""
        self._outbox = outbox
        self._drops = drops
        self._sender = Sender(sock.fileno(), sock.family, outbox.slots)
        self._sizes = self._sender.sizes
        self._peers = self._sender.peers
        self._peer_bytes = raw_bytes(sock.family)

    def add(self, flow: Flow, size: int, now_s: float) -> None:
        """Queue the datagram of `size` bytes in the outbox's slot for a flow's client, and count it."""
        outbox, server = self._outbox, flow.server
        if outbox.sender is not self:
            outbox.hand_over(self)
        slot = outbox.cursor
        start = slot * NAME_BYTES
        self._sizes[slot] = size
        self._peers[start : start + self._peer_bytes] = flow.peer
        outbox.flows[slot] = flow
        flow.packets_out += 1
        flow.bytes_out += size
        server.packets_out += 1
        server.bytes_out += size
        flow.last_out_s = now_s
        outbox.cursor = slot + 1
        if slot == LAST_SLOT:
            outbox.flush()

    def speak(self, peer: bytes, message: bytes) -> None:
        """Queue a message of the balancer's own for a client's raw address."""
        outbox = self._outbox
        if outbox.sender is not self:
            outbox.hand_over(self)
        slot, size = outbox.cursor, len(message)
        start = slot * NAME_BYTES
        outbox.slot_view[:size] = message
        self._sizes[slot] = size
        self._peers[start : start + self._peer_bytes] = peer[: self._peer_bytes]
        outbox.flows[slot] = None
        outbox.cursor = slot + 1
        if slot == LAST_SLOT:
            outbox.flush()

    def send(self, first: int, end: int) -> None:
        """Send the slots from `first` up to before `end`; what the kernel refuses is counted as dropped instead."""
        self._sender.send(first, end, self._refused)

    def _refused(self, slot: int, number: int) -> None:
        flow, size = self._outbox.flows[slot], self._sizes[slot]
        self._drops[f"reply-{send_failure(number)}"] += 1
        if flow is None:
            return
        flow.packets_out -= 1
        flow.bytes_out -= size
        flow.server.packets_out -= 1
        flow.server.bytes_out -= size
