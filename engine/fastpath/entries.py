"""What a flow looks like in the kernel: two entries, one for each direction."""

from __future__ import annotations

import socket
from functools import lru_cache

import msgspec
from netaddr import IPAddress

from engine.fastpath.layout import FLOW_V4, FLOW_V6, FlowLayout
from engine.sessions.flow import Flow, Port, SocketAddress

_LINK_LOCAL = bytes([0xFE, 0x80])
_NAT_T = Port.NAT_T
_INET, _INET6 = socket.AF_INET, socket.AF_INET6


class Entries(msgspec.Struct, frozen=True, gc=False):
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
    """Whether ESP of a session may come on a flow, and may go on to its real server: from its IKE_AUTH answer on."""
    # An established session owns a flow before any that is being set up.
    owner = flow.owner
    if owner is None or (owner.half_open and not owner.auth_accepted):
        return False
    return flow.port is _NAT_T and flow.server.keeps_sessions


def entries(flow: Flow) -> Entries | None:
    """The entries of a flow that has a source; None: its ends differ in address family, or are link-local."""
    config = flow.service.config
    client = _packed(flow.client)
    service = _packed_service(config.address, config.nat_t_port)
    server = _packed_server(flow.server.endpoint(_NAT_T))
    source = client if flow.source is flow.client else _packed(flow.source) if flow.source is not None else None
    if client is None or service is None or source is None or server is None:
        return None
    if not len(client[0]) == len(service[0]) == len(source[0]) == len(server[0]):
        return None
    return Entries(
        FLOW_V4 if len(client[0]) == 4 else FLOW_V6,
        _tuple(client, service),
        _tuple(source, server),
        _tuple(server, source),
        _tuple(service, client),
    )


def _packed(end: SocketAddress) -> tuple[bytes, bytes] | None:
    """Address and port in network byte order; None for an address that means something on one link only."""
    host, port = end[0], end[1]
    is_ipv6 = ":" in host
    address = socket.inet_pton(_INET6, host.partition("%")[0]) if is_ipv6 else socket.inet_pton(_INET, host)
    if not any(address) or (is_ipv6 and address.startswith(_LINK_LOCAL)):
        return None
    return address, port.to_bytes(2, "big")


# The same few for all flows.
_packed_server = lru_cache(maxsize=1024)(_packed)


@lru_cache(maxsize=1024)
def _packed_service(address: IPAddress, port: int) -> tuple[bytes, bytes] | None:
    return _packed((str(address), port))


def _tuple(source: tuple[bytes, bytes], destination: tuple[bytes, bytes]) -> bytes:
    return source[0] + destination[0] + source[1] + destination[1]
