"""The UDP sockets of the data path and the options they need."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress

from engine.sessions.flow import SocketAddress

# Names that the socket module of Python 3.11 lacks (linux/in.h, linux/in6.h, asm-generic/socket.h).
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0
IP_RECVORIGDSTADDR = 20
IPV6_MTU_DISCOVER = 23
IPV6_RECVORIGDSTADDR = 74
IPV6_TRANSPARENT = 75
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
SK_MEMINFO_DROPS = 8

SHARED_BUFFER_BYTES = 8 << 20


class BindError(Exception):
    """A local address and port cannot be had; the message says why and what to do."""


def family_of(host: str) -> socket.AddressFamily:
    """The address family of an address in text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listener(host: str, port: int) -> socket.socket:
    """A socket for one port of a service.

    Raises:
        BindError: the port is taken, needs privilege, or the address is not this machine's.
    """
    sock = _busy_socket(family_of(host))
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BindError(_why_not_bound(error, host, port)) from error
    return sock


def upstream(local: SocketAddress, remote: SocketAddress, *, transparent: bool) -> socket.socket:
    """A socket that speaks to a real server as `local`; raises OSError.

    Several services may stand for the same client, hence SO_REUSEADDR: the connected peer tells them apart.
    """
    sock = _datagram_socket(family_of(remote[0]))
    try:
        if transparent:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            make_transparent(sock)
        if local[0] or local[1]:
            sock.bind(local)
        sock.connect(remote)
    except OSError:
        sock.close()
        raise
    return sock


def catch_all(family: socket.AddressFamily) -> socket.socket:
    """A socket for what real servers send to clients that have no upstream socket; raises OSError.

    The kernel tells the client's address as the datagram's original destination.
    """
    sock = _busy_socket(family)
    try:
        make_transparent(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
            sock.bind(("::1", 0))
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
            sock.bind(("127.0.0.1", 0))
    except OSError:
        sock.close()
        raise
    return sock


def raw(family: socket.AddressFamily) -> socket.socket:
    """A socket that sends IP packets as they are given to it, from whatever source, and hears none; raises OSError."""
    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    with suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SHARED_BUFFER_BYTES)
    return sock


def check_local(host: str) -> None:
    """Make sure that an address can be a source.

    Raises:
        BindError: it is not this machine's.
        OSError: there is no socket to try it with.
    """
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError as error:
            remedy = f"add it with `ip address add {host} dev INTERFACE`, or take it out of snat_addresses"
            raise BindError(f"this machine has no address {host} ({error.strerror}): {remedy}") from error


def is_local(host: str) -> bool:
    """Whether an address is this machine's; raises OSError where there is no socket to try it with."""
    try:
        check_local(host)
    except BindError:
        return False
    return True


def make_transparent(sock: socket.socket) -> None:
    """Let a socket use addresses that are not this machine's (ip(7), IP_TRANSPARENT)."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)


def kernel_drops(sock: socket.socket) -> int:
    """Datagrams the kernel dropped because this socket's buffer was full (SO_MEMINFO)."""
    counters = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (SK_MEMINFO_DROPS + 1))
    drops: int = struct.unpack_from("=I", counters, 4 * SK_MEMINFO_DROPS)[0]
    return drops


def _datagram_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # Without don't-fragment, a router with a smaller MTU fragments as it would for the client's own datagram; the
    # error it could send instead would never reach the sender that has to make its packets smaller.
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    return sock


def _busy_socket(family: socket.AddressFamily) -> socket.socket:
    """A socket with many peers: their datagrams wait in a large buffer, as large as this user may have."""
    sock = _datagram_socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SHARED_BUFFER_BYTES)
    except PermissionError:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SHARED_BUFFER_BYTES)
    return sock


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    place = f"UDP {host} port {port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{place} is taken by another program: find it with `ss -lunp sport = :{port}` and stop it"
        case errno.EADDRNOTAVAIL:
            return f"{place}: this machine has no address {host}: add it with `ip address add {host} dev INTERFACE`"
        case errno.EACCES:
            return f"{place} needs privilege: run as root, give CAP_NET_BIND_SERVICE, or choose a port above 1023"
        case _:
            return f"{place} cannot be used: {error.strerror}"
