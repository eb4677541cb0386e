"""A balancer between clients and real servers in a network namespace of its own, and frames made by scapy to run over.

Nothing is sent: the kernel runs the XDP program over one frame and hands back the verdict and what became of the bytes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import astuple, dataclass, field, replace
from enum import IntEnum, StrEnum
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import patch

from bpf_objects import ip, private_network
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from engine.fastpath import flow_table
from engine.fastpath.layout import FLOW_V4, FLOW_V6, TOTAL, TRACK, FlowLayout, Reason, tick_now
from engine.fastpath.links import XdpMode
from engine.fastpath.program import ForwardingProgram

MAX_SESSIONS = 4096
LONG_AGO_TICKS = 10_000
TICKS_MASK = 0xFFFF
HOP_AGE_SHIFT = 5
"""Of layout.h; only the program itself needs it."""
HOPS_LEFT = 64
TOTAL_PLACE = 5

ESP = bytes.fromhex("c0ffee01 00000001") + bytes(range(64))
KEEPALIVE = b"\xff"


class Verdict(IntEnum):
    """What an XDP program says (linux/bpf.h)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


@dataclass(frozen=True, slots=True)
class Device:
    """A network device of the balancer, and the port by which the program's frames leave through it."""

    name: str
    mac: str
    v4: str
    v6: str
    port: int | None
    vlan: int | None = None


WAN = Device("wan", "02:00:00:00:00:01", "198.51.100.1", "2001:db8:1::1", port=5)
LAN = Device("lan", "02:00:00:00:00:02", "10.0.0.1", "fd00:1::1", port=9)
WAN_10 = Device("wan.10", "02:00:00:00:00:03", "10.0.10.1", "fd00:10::1", port=5, vlan=10)
LAN_20 = Device("lan.20", "02:00:00:00:00:04", "10.0.20.1", "fd00:20::1", port=9, vlan=20)
UNFIT = Device("unfit", "02:00:00:00:00:05", "10.0.30.1", "fd00:30::1", port=None)
DEVICES = (WAN, LAN, WAN_10, LAN_20, UNFIT)


@dataclass(frozen=True, slots=True)
class Host:
    """Someone on a link of the balancer."""

    device: Device
    mac: str
    v4: str
    v6: str


ROUTER = Host(WAN, "02:00:00:00:01:01", "198.51.100.254", "2001:db8:1::fe")
NEAR_SERVER = Host(WAN, "02:00:00:00:01:02", "198.51.100.11", "2001:db8:1::11")
SERVER = Host(LAN, "02:00:00:00:02:01", "10.0.0.11", "fd00:1::11")
NARROW_GATEWAY = Host(LAN, "02:00:00:00:02:02", "10.0.0.254", "fd00:1::fe")
WAN_10_HOST = Host(WAN_10, "02:00:00:00:03:01", "10.0.10.11", "fd00:10::11")
LAN_20_SERVER = Host(LAN_20, "02:00:00:00:04:01", "10.0.20.11", "fd00:20::11")
UNFIT_SERVER = Host(UNFIT, "02:00:00:00:05:01", "10.0.30.11", "fd00:30::11")
HOSTS = (ROUTER, NEAR_SERVER, SERVER, NARROW_GATEWAY, WAN_10_HOST, LAN_20_SERVER, UNFIT_SERVER)

NARROW_MTU_BYTES = 1300
NARROW_SERVER = replace(NARROW_GATEWAY, v4="10.9.0.11", v6="fd00:9::11")
"""Behind a gateway whose route has a small MTU."""
SILENT_SERVER = replace(SERVER, v4="10.0.0.99", v6="fd00:1::99")
"""The kernel does not know its MAC address."""
UNREACHABLE_SERVER = replace(SERVER, v4="10.8.0.11", v6="fd00:8::11")
CLIENT = replace(ROUTER, v4="203.0.113.7", v6="2001:db8:c::7")
VIP = replace(ROUTER, v4="198.51.100.10", v6="2001:db8:1::10")


SNAT = replace(SERVER, v4=LAN.v4, v6=LAN.v6)
"""The balancer itself, as real servers of a snat service see it."""

CLIENT_PORT, SNAT_PORT, NAT_T_PORT = 40123, 61001, 4500


class Family(StrEnum):
    """IPv4 or IPv6."""

    V4 = "v4"
    V6 = "v6"

    def of(self, host: Host) -> str:
        return host.v4 if self is Family.V4 else host.v6


@dataclass(frozen=True, slots=True)
class Ends:
    """A UDP 5-tuple."""

    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def layout(self) -> FlowLayout:
        return FLOW_V6 if ":" in self.source else FLOW_V4

    @property
    def packed(self) -> bytes:
        """As the maps have it."""
        addresses = ip_address(self.source).packed + ip_address(self.destination).packed
        return addresses + self.source_port.to_bytes(2, "big") + self.destination_port.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Link:
    """An Ethernet header, with an 802.1Q tag or without."""

    source: str
    destination: str
    vlan: int | None = None


def arriving(host: Host) -> Link:
    """How frames of a host come in."""
    return Link(host.mac, host.device.mac, host.device.vlan)


def leaving(host: Host) -> Link:
    """How frames to a host leave."""
    return Link(host.device.mac, host.mac, host.device.vlan)


def packet(
    link: Link,
    ends: Ends,
    payload: bytes = ESP,
    *,
    hops_left: int = HOPS_LEFT,
    tos: int = 0,
    label: int = 0,
    flags: int = 0,
    udp_checksum: int | None = None,
) -> Packet:
    """A frame for scapy to finish: lengths and checksums are its own. `label`: IPv4 identification, IPv6 flow label."""
    ethernet = Ether(src=link.source, dst=link.destination)
    if link.vlan is not None:
        ethernet /= Dot1Q(vlan=link.vlan)
    if ends.layout is FLOW_V6:
        network = IPv6(src=ends.source, dst=ends.destination, hlim=hops_left, tc=tos, fl=label)
    else:
        network = IP(src=ends.source, dst=ends.destination, ttl=hops_left, tos=tos, id=label, flags=flags)
    udp = UDP(sport=ends.source_port, dport=ends.destination_port, chksum=udp_checksum)
    return ethernet / network / udp / Raw(payload)


@dataclass(frozen=True, slots=True)
class Direction:
    """What packets of one direction of a flow are, and what they become."""

    before: Ends
    after: Ends
    came_from: Host
    goes_to: Host

    def frame(self, payload: bytes = ESP, **fields: int | None) -> Packet:
        """A packet as it comes in."""
        return packet(arriving(self.came_from), self.before, payload, **fields)

    def forwarded(self, payload: bytes = ESP, *, hops_left: int = HOPS_LEFT, **fields: int | None) -> Packet:
        """What must become of `frame` with the same arguments."""
        return packet(leaving(self.goes_to), self.after, payload, hops_left=hops_left - 1, **fields)


def to_server(family: Family, server: Host = SERVER, client: Host = CLIENT, *, snat: bool = False) -> Direction:
    """From a client to its real server."""
    client_end = family.of(client), CLIENT_PORT
    source = (family.of(SNAT), SNAT_PORT) if snat else client_end
    before = Ends(*client_end, family.of(VIP), NAT_T_PORT)
    return Direction(before, Ends(*source, family.of(server), NAT_T_PORT), client, server)


def to_client(family: Family, server: Host = SERVER, client: Host = CLIENT, *, snat: bool = False) -> Direction:
    """From a real server back to the client."""
    client_end = family.of(client), CLIENT_PORT
    source = (family.of(SNAT), SNAT_PORT) if snat else client_end
    before = Ends(family.of(server), NAT_T_PORT, *source)
    return Direction(before, Ends(family.of(VIP), NAT_T_PORT, *client_end), server, client)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a frame, and by how much each reason was counted meanwhile."""

    verdict: Verdict
    data: bytes
    reasons: dict[Reason, int] = field(default_factory=dict)


def sent(expected: Packet) -> Outcome:
    """Forwarded as scapy makes the frame, and counted nowhere but with its flow."""
    return Outcome(Verdict.REDIRECT, bytes(expected))


def passed_up(frame: bytes, reason: Reason) -> Outcome:
    """Left to the kernel untouched, for one reason, counted once."""
    return Outcome(Verdict.PASS, frame, {reason: 1})


@dataclass(frozen=True, slots=True)
class FlowState:
    """One direction of a flow as the kernel has it: next hop and counters, in the order of `struct track`."""

    hop_destination: bytes
    hop_source: bytes
    epoch: int
    vlan: int
    mtu_bytes: int
    port: int
    state: int
    total: int
    last_used: int
    packets: int
    esp_spi: bytes
    size_bytes: int


class World:
    """The balancer's devices, and the program, which is attached to none of them."""

    def __init__(self, forwarding: ForwardingProgram) -> None:
        self.forwarding = forwarding
        self._slots: dict[bytes, int] = {}
        """Where in their tables the flows are, by tuple."""
        for device in DEVICES:
            if device.port is not None:
                index = socket.if_nametoindex(device.name)
                forwarding.set_egress(index, device.port, device.vlan)
                if device.vlan is None:
                    forwarding.set_port(device.port, index)

    def install(self, direction: Direction) -> Direction:
        """Have the kernel forward one direction of a flow, new or as if new, and long unused."""
        assert self.try_to_install(direction)
        return direction

    def try_to_install(self, direction: Direction) -> bool:
        """Install a direction; says whether its table had room where it would be looked for."""
        self.remove(direction)
        comes, becomes = direction.before.packed, direction.after.packed
        slot = self._table(direction).insert(comes, becomes, TOTAL_PLACE, tick_now() - LONG_AGO_TICKS & TICKS_MASK)
        if slot is not None:
            self._slots[comes] = slot
        return slot is not None

    def remove(self, direction: Direction) -> None:
        """Have the kernel forward a direction no longer, if it does."""
        slot = self._slots.pop(direction.before.packed, None)
        if slot is not None:
            self._table(direction).remove(slot)

    def flow(self, direction: Direction) -> FlowState:
        """What the kernel has of a direction that was installed."""
        return FlowState(*TRACK.unpack(self._track(direction)))

    def set_hop(self, direction: Direction, *, mac: str, epoch: int) -> None:
        """Have the next hop of a direction that has one be another, found at another time."""
        track = self._track(direction)
        changed = replace(self.flow(direction), hop_destination=bytes.fromhex(mac.replace(":", "")), epoch=epoch)
        track[:] = TRACK.pack(*astuple(changed))

    def total(self) -> tuple[int, int]:
        """Packets and bytes of the real server to which all flows belong."""
        each = [TOTAL.unpack(value) for value in self.forwarding.read_total(TOTAL_PLACE)]
        return sum(packets for packets, _ in each), sum(size_bytes for _, size_bytes in each)

    def run(self, frame: bytes | Packet, device: Device = WAN) -> Outcome:
        """Have the program look at a frame that came in by a device; by the one below it for a VLAN device."""
        before = self.forwarding.passed_up()
        index = socket.if_nametoindex(device.name.partition(".")[0])
        run = self.forwarding.program.run(bytes(frame), ingress_ifindex=index)
        reasons = self.forwarding.passed_up()
        reasons.subtract(before)
        return Outcome(Verdict(run.verdict), run.data, {reason: count for reason, count in reasons.items() if count})

    def _table(self, direction: Direction) -> flow_table.FlowTable:
        return self.forwarding.flows[direction.before.layout]

    def _track(self, direction: Direction) -> memoryview:
        table, layout = self._table(direction), direction.before.layout
        flow = self._slots[direction.before.packed] * layout.flow_bytes
        return table._memory[flow + layout.track_at : flow + layout.flow_bytes]


@contextmanager
def world(max_sessions: int = MAX_SESSIONS) -> Iterator[World]:
    """Build it all; it is gone when the block ends."""
    with ExitStack() as stack:
        # Nobody else's packets are under way, so that slots can be used again at once.
        stack.enter_context(patch.object(flow_table, "COOLING_S", 0.0))
        stack.enter_context(private_network())
        _build_network()
        # A veth device lets frames be run as its own while it has a program; this one's counters nobody reads.
        bystander = stack.enter_context(closing(ForwardingProgram(1)))
        for device in (WAN, LAN):
            stack.enter_context(bystander.program.attach_xdp(socket.if_nametoindex(device.name), XdpMode.NATIVE))
        yield World(stack.enter_context(closing(ForwardingProgram(max_sessions))))


def set_forwarding(device: Device, *, on: bool) -> None:
    """Have the kernel forward what comes in by a device, or not."""
    for family in ("ipv4", "ipv6"):
        Path(f"/proc/sys/net/{family}/conf/{device.name}/forwarding").write_text(str(int(on)))


def _build_network() -> None:
    ip("link set lo up")
    for device in DEVICES:
        # Also in place of VLAN devices, which not every kernel has: the program knows them by their index only.
        ip(f"link add {device.name} address {device.mac} type veth peer name {device.name}-far")
        ip(f"link set {device.name}-far addrgenmode none up")
        ip(f"link set {device.name} addrgenmode none up")
        ip(f"address add {device.v4}/24 dev {device.name}")
        ip(f"address add {device.v6}/64 dev {device.name} nodad")
        set_forwarding(device, on=True)
    for host in HOSTS:
        for address in (host.v4, host.v6):
            ip(f"neighbour add {address} lladdr {host.mac} dev {host.device.name} nud permanent")
    for default, address in (("0.0.0.0/0", ROUTER.v4), ("::/0", ROUTER.v6)):
        ip(f"route add {default} via {address}")
    # As for all that the kernel forwards, the MTU of a route counts only where it is locked.
    for network, gateway in (("10.9.0.0/16", NARROW_GATEWAY.v4), ("fd00:9::/32", NARROW_GATEWAY.v6)):
        ip(f"route add {network} via {gateway} mtu lock {NARROW_MTU_BYTES}")
    for network in ("10.8.0.0/16", "fd00:8::/32"):
        ip(f"route add unreachable {network}")
