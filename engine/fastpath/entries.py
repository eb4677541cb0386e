"""What a flow looks like in the kernel: two entries, one for each direction."""

from __future__ import annotations

import socket
from functools import lru_cache

import msgspec

from engine.fastpath.layout import FLOW_V4, FLOW_V6, FlowLayout
from engine.sessions.flow import Flow, Port

_LINK_LOCAL = bytes([0xFE, 0x80])
_NAT_T = Port.NAT_T
_INET, _INET6 = socket.AF_INET, socket.AF_INET6
_PEER_V4_BYTES = 16
_joined = b"".join


class Entries(msgspec.Struct, frozen=True, gc=False):
    """The tuples of a flow's packets as they come in and as they leave, both ways, in network byte order."""

    layout: FlowLayout
    from_client: bytes
    to_server: bytes
    from_server: bytes
    to_client: bytes


def has_lost_port(flow: Flow) -> bool:
    """Whether its socket was closed to make room: its source port towards the real server may be another flow's now."""
    return flow.service.is_snat and flow.upstream is None


def has_tunnel(flow: Flow) -> bool:
    """Whether ESP of a session may come on a flow: from its IKE_AUTH answer on."""
    # An established session owns a flow before any that is being set up.
    owner = flow.owner
    return owner is not None and (not owner.half_open or owner.auth_accepted) and flow.port is _NAT_T


def entries(flow: Flow) -> Entries | None:
    """The entries of a flow that has a source; None: its ends differ in address family, or are link-local."""
    server = flow.server
    fixed = _fixed_ends(flow.service.address, flow.service.config.nat_t_port, server.address, server.ports[_NAT_T])
    # As the kernel writes it: ip(7), ipv6(7).
    peer = flow.peer
    client, client_port = peer[4:8] if len(peer) == _PEER_V4_BYTES else peer[8:24], peer[2:4]
    if fixed is None or flow.source is None or not _is_routed(client):
        return None
    layout, service, service_port, real, real_port = fixed
    if flow.source is flow.client:
        source, source_port = client, client_port
    else:
        source, source_port = _packed(flow.source[0]), flow.source[1].to_bytes(2)
    if not len(client) == len(source) == len(service):
        return None
    return Entries(
        layout,
        _joined((client, service, client_port, service_port)),
        _joined((source, real, source_port, real_port)),
        _joined((real, source, real_port, source_port)),
        _joined((service, client, service_port, client_port)),
    )


# The same few for all flows.
@lru_cache(maxsize=1024)
def _fixed_ends(
    service: str, service_port: int, server: str, server_port: int
) -> tuple[FlowLayout, bytes, bytes, bytes, bytes] | None:
    """The layout of flows between a service and a real server, and address and port of each."""
    at, to = _packed(service), _packed(server)
    if not at or len(at) != len(to):
        return None
    return FLOW_V4 if len(at) == 4 else FLOW_V6, at, service_port.to_bytes(2), to, server_port.to_bytes(2)


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    """An address in network byte order; empty for one that means something on one link only."""
    address = socket.inet_pton(_INET6, host.partition("%")[0]) if ":" in host else socket.inet_pton(_INET, host)
    return address if _is_routed(address) else b""


def _is_routed(address: bytes) -> bool:
    return any(address) and not (len(address) > 4 and address.startswith(_LINK_LOCAL))
