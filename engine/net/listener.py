"""One port of a service: takes in what clients send."""

from __future__ import annotations

import socket

import trio

from engine.net.forwarder import Forwarder
from engine.sessions.flow import Port
from engine.sessions.service import Service

DRAINED_AT_ONCE = 256


class Listener:
    """A bound UDP socket and the loop that empties it in batches.

    A batch is bounded so that listeners, upstream sockets and timers take turns.
    """

    def __init__(self, service: Service, port: Port, forwarder: Forwarder, sock: socket.socket) -> None:
        self.service = service
        self.port = port
        self.socket = sock
        self._forwarder = forwarder

    async def serve(self, scope: trio.CancelScope) -> None:
        """Forward until the scope is cancelled."""
        with scope:
            while True:
                await trio.lowlevel.wait_readable(self.socket)
                if scope.cancel_called:
                    # Woken in the very turn that the service was taken away.
                    return
                self.drain(trio.current_time())

    def drain(self, now_s: float) -> None:
        """Forward what has arrived, a bounded number of datagrams."""
        forwarder, service, port = self._forwarder, self.service, self.port
        buffer, view = forwarder.buffer, forwarder.view
        first_word = view[:4].cast("I")
        receive = self.socket.recvfrom_into
        flow_of = service.flows[port].get
        esp_only = port is Port.NAT_T
        for _ in range(DRAINED_AT_ONCE):
            try:
                size, client = receive(buffer)
            except BlockingIOError:
                return
            except OSError:
                service.drops["listener-error"] += 1
                continue
            flow = flow_of(client)
            # The one shortcut that carries the load: ESP of a flow whose sessions are all established.
            if esp_only and flow is not None and flow.settled and size >= 8 and first_word[0]:
                if flow.send is not None:
                    try:
                        flow.send(view[:size])
                    except OSError:
                        forwarder.to_server(flow, size, now_s)
                        continue
                    server = flow.server
                    flow.packets_in += 1
                    flow.bytes_in += size
                    server.packets_in += 1
                    server.bytes_in += size
                    flow.last_in_s = now_s
                else:
                    forwarder.to_server(flow, size, now_s)
            else:
                forwarder.from_client(service, port, client, flow, size, now_s)
