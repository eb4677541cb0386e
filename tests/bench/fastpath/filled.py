"""The XDP program with flows of no engine: what a packet costs with more of them than tunnels could be set up for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from engine.config.schema import EngineSection
from engine.fastpath.bpf import XdpMode
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import FLOW_V4, tick_now
from engine.fastpath.program import ForwardingProgram

from ..testbed import REAL_SERVERS, SERVICE_ADDRESS
from .flows import NAT_T_PORT, TUPLE, Direction, client_flows
from .forwarders import Forwarder, Ready
from .namespaces import inside
from .traffic import Traffic

_SERVICE = socket.inet_aton(SERVICE_ADDRESS)
_SERVERS = tuple(socket.inet_aton(address) for address in REAL_SERVERS)
_PORTS = 2 * NAT_T_PORT.to_bytes(2, "big")


@contextmanager
def _filled(traffic: Traffic, clients: int) -> Iterator[Ready]:
    network = traffic.network
    with ExitStack() as stack, inside(network.bed.balancer):
        program = stack.enter_context(closing(ForwardingProgram(room_for(clients), families=[FLOW_V4])))
        for port, device in enumerate((network.clients_side, network.servers_side)):
            program.set_port(port, device.index)
            program.set_egress(device.index, port, None)
            stack.callback(program.program.attach_xdp(device.index, XdpMode.NATIVE).close)
        flows = client_flows(clients, SERVICE_ADDRESS)
        _fill(program.flows[FLOW_V4], sorted(client for client, *_ in TUPLE.iter_unpack(flows.packed)))
        yield Ready({Direction.TO_SERVER: flows})


def room_for(clients: int) -> int:
    """As many sessions as the engine is made for by default, or so many that every flow of these clients has room."""
    return max(EngineSection().max_sessions, 4 * clients)


def _fill(table: FlowTable, clients: list[bytes]) -> None:
    now = tick_now()
    for number, client in enumerate(clients):
        server = _SERVERS[number % len(_SERVERS)]
        ways = ((client + _SERVICE, client + server), (server + client, _SERVICE + client))
        for total, (comes, becomes) in enumerate(ways):
            if table.insert(comes + _PORTS, becomes + _PORTS, total, now) is None:
                raise RuntimeError(f"no room for flow {number} of {len(clients)}")


FILLED = Forwarder("ours", _filled)
