"""All captures that run, and what the forwarder tells them of IKE messages."""

from __future__ import annotations

import time

from engine.capture.capture import Capture, Network
from engine.control.api import Refused
from engine.control.captured import CapturedMessage
from engine.sessions.flow import Flow, Port, SocketAddress, format_address
from engine.sessions.service import Service
from engine.wire.encapsulation import Kind, classify
from engine.wire.errors import WireError

MAX_CAPTURES = 4

_PORT_NAMES = {Port.IKE: "ike", Port.NAT_T: "nat-t"}


class Captures:
    """A bounded number of captures.

    The forwarder tells them nothing unless some are `running`: to look is all that a message costs otherwise.
    """

    def __init__(self) -> None:
        self.running: list[Capture] = []

    def begin(self, network: Network, seconds: float, messages: int) -> Capture:
        """Capture the clients of a network from now on; raises Refused while too many captures run."""
        if len(self.running) == MAX_CAPTURES:
            of = ", ".join(str(capture.network) for capture in self.running)
            raise Refused("failed", f"{MAX_CAPTURES} captures run already, of {of}: end one of them first")
        capture = Capture(network, seconds, messages, self._end)
        self.running.append(capture)
        return capture

    def passes(self, flow: Flow, data: memoryview, *, inward: bool, dropped: str = "") -> None:
        """An IKE message of a flow is forwarded, or is `dropped` for a reason."""
        self._catch(flow.service, flow.port, flow.client, data, flow, inward=inward, dropped=dropped)

    def turned_away(self, service: Service, port: Port, client: SocketAddress, data: memoryview, reason: str) -> None:
        """A client's datagram is dropped before it has reached a flow: malformed, or nowhere to go."""
        if _may_be_ike(data, port):
            self._catch(service, port, client, data, None, inward=True, dropped=reason)

    def _catch(
        self,
        service: Service,
        port: Port,
        client: SocketAddress,
        data: memoryview,
        flow: Flow | None,
        *,
        inward: bool,
        dropped: str,
    ) -> None:
        for capture in self.running:
            if capture.wants(client[0]) and (number := capture.admit(len(data))):
                message = CapturedMessage(
                    number=number,
                    at=time.time(),
                    direction="in" if inward else "out",
                    port=_PORT_NAMES[port],
                    service=service.name,
                    client=format_address(client),
                    vip=_vip(service, port),
                    data=bytes(data),
                    server=flow.server.name if flow else "",
                    server_address=format_address(flow.server.endpoint(port)) if flow else "",
                    source=format_address(flow.source) if flow and flow.source else "",
                    dropped=dropped,
                )
                capture.add(message)

    def _end(self, capture: Capture) -> None:
        if capture in self.running:
            self.running.remove(capture)


def _vip(service: Service, port: Port) -> str:
    config = service.config
    return format_address((str(config.address), config.ike_port if port is Port.IKE else config.nat_t_port))


def _may_be_ike(data: memoryview, port: Port) -> bool:
    """What is nothing at all is shown, too: it may be just what the operator looks for."""
    try:
        return classify(data, len(data), port is Port.NAT_T) is Kind.IKE
    except WireError:
        return True
