"""What a flow looks like in the kernel: two entries, one for each direction."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from engine.fastpath.layout import FLOW_V4, FLOW_V6, FlowLayout
from engine.sessions.flow import Flow, Port, SocketAddress

_LINK_LOCAL = bytes([0xFE, 0x80])


@dataclass(frozen=True, slots=True)
class Entries:
    """The tuples of a flow's packets as they come in and as they leave, both ways, in network byte order."""

    layout: FlowLayout
    from_client: bytes
    to_server: bytes
    from_server: bytes
    to_client: bytes


def is_ready(flow: Flow) -> bool:
    """Whether its real server has shown its client to be there, and it has a source and a way back to its client."""
    return flow.proven and flow.source is not None and flow.listener is not None


def has_lost_port(flow: Flow) -> bool:
    """Whether its socket was closed to make room: its source port towards the real server may be another flow's now."""
    return flow.service.is_snat and flow.upstream is None


def carries_tunnel(flow: Flow) -> bool:
    """Whether ESP of an established session may come on a flow, and may go on to its real server."""
    established = any(not session.half_open for session in flow.sessions)
    return flow.port is Port.NAT_T and established and flow.server.keeps_sessions


def entries(flow: Flow) -> Entries | None:
    """The entries of a flow that has a source; None: its ends differ in address family, or are link-local."""
    config = flow.service.config
    client = _packed(flow.client)
    service = _packed((str(config.address), config.nat_t_port))
    source = _packed(flow.source) if flow.source is not None else None
    server = _packed(flow.server.endpoint(Port.NAT_T))
    if client is None or service is None or source is None or server is None:
        return None
    if len({len(address) for address, _ in (client, service, source, server)}) != 1:
        return None
    layout = FLOW_V4 if len(client[0]) == 4 else FLOW_V6
    return Entries(
        layout,
        from_client=_tuple(client, service),
        to_server=_tuple(source, server),
        from_server=_tuple(server, source),
        to_client=_tuple(service, client),
    )


def _packed(end: SocketAddress) -> tuple[bytes, bytes] | None:
    """Address and port in network byte order; None for an address that means something on one link only."""
    host, port = end[0], end[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.inet_pton(family, host.partition("%")[0])
    if not any(address) or (family == socket.AF_INET6 and address.startswith(_LINK_LOCAL)):
        return None
    return address, port.to_bytes(2, "big")


def _tuple(source: tuple[bytes, bytes], destination: tuple[bytes, bytes]) -> bytes:
    return source[0] + destination[0] + source[1] + destination[1]
