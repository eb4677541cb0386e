"""One port of a service: takes in what clients send, and answers them."""

from __future__ import annotations

import socket

from engine.net.batches import SLOTS, Receiver
from engine.net.forwarder import Forwarder
from engine.net.outbox import Replies
from engine.sessions.flow import Flow, Port
from engine.sessions.service import Service
from engine.wire.encapsulation import ESP_HEADER_SIZE_BYTES

BATCHES_AT_ONCE = 4


class Listener:
    """A bound UDP socket, emptied in batches; a turn is bounded so that all sockets get theirs."""

    def __init__(self, service: Service, port: Port, forwarder: Forwarder, sock: socket.socket) -> None:
        self.service = service
        self.port = port
        self.socket = sock
        self.flows: dict[bytes, Flow] = {}
        self._forwarder = forwarder
        self._receiver = Receiver(sock.family, forwarder.inbox)
        replies = Replies(sock, forwarder.outbox, service.drops)
        self.reply, self.speak = replies.add, replies.speak

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self.socket.fileno()

    def forget(self, flow: Flow) -> None:
        """The flow has ended."""
        self.flows.pop(flow.peer, None)

    def drain(self, now_s: float) -> None:
        """Forward what has arrived, a bounded number of datagrams."""
        for _ in range(BATCHES_AT_ONCE):
            try:
                count = self._receiver.receive(self.socket.fileno())
            except OSError:
                self.service.drops["listener-error"] += 1
                return
            self._forward(count, now_s)
            if count < SLOTS:
                return

    def _forward(self, count: int, now_s: float) -> None:
        forwarder, flow_of, receiver = self._forwarder, self.flows.get, self._receiver
        waiting: list[tuple[Flow, memoryview]] = []
        peers = receiver.addresses(count)
        sizes = receiver.sizes[:count].tolist()
        first_words = forwarder.inbox.first_words[:count].tolist()
        for (peer,), size, first_word, view in zip(peers, sizes, first_words, forwarder.inbox.views, strict=False):
            data = view[:size]
            flow = flow_of(peer)
            # The shortcut that carries the load: ESP of a flow whose sessions are all established.
            if (
                flow is not None
                and flow.settled
                and first_word in flow.esp_in
                and size >= ESP_HEADER_SIZE_BYTES
                and flow.upstream is not None
                and not waiting
            ):
                try:
                    flow.upstream.send(data)
                except OSError:
                    forwarder.to_server(flow, data, now_s)
                    continue
                server = flow.server
                flow.packets_in += 1
                flow.bytes_in += size
                server.packets_in += 1
                server.bytes_in += size
                flow.last_in_s = now_s
            elif flow := forwarder.steer(self, peer, flow, data, now_s):
                waiting.append((flow, data))
        # One right after the other: to wake a receiver up for each would cost as much as steering it. ESP that came
        # after them has waited too, so that nothing overtakes anything.
        for steered, data in waiting:
            # What came after it may have ended its flow, which was a guess or gave way.
            again = not steered.sessions
            flow = forwarder.steer(self, steered.peer, flow_of(steered.peer), data, now_s) if again else steered
            if flow is not None:
                forwarder.to_server(flow, data, now_s)
