"""The data path's sockets: what refuses to bind says why and what to do."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from net_gateway import Peer
from net_nobody import told_as_nobody

from engine.net import sockets
from engine.net.errors import send_failure

UNPRIVILEGED_FROM = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_taken_port(host: str) -> None:
    """The message names the address and the port, and the command that finds who has it."""
    taken = Peer(host)
    port = taken.address[1]
    with pytest.raises(sockets.BindError) as refused:
        sockets.listener(host, port)
    taken.close()
    assert f"{host} port {port} is taken by another program" in str(refused.value)
    assert f"`ss -lunp sport = :{port}`" in str(refused.value)


@pytest.mark.parametrize("host", ["203.0.113.10", "2001:db8::10"])
def test_address_of_another_machine(host: str) -> None:
    """The message gives the command that adds the address."""
    with pytest.raises(sockets.BindError) as refused:
        sockets.listener(host, 10_500)
    assert f"this machine has no address {host}" in str(refused.value)
    assert f"`ip address add {host} dev INTERFACE`" in str(refused.value)


@pytest.mark.skipif(int(UNPRIVILEGED_FROM.read_text()) <= 500, reason="this machine lets everybody have port 500")
def test_privileged_port() -> None:
    """Without privilege port 500 is refused with the three ways out."""
    assert told_as_nobody(lambda: sockets.listener("127.0.0.1", 500).close()) == (
        "BindError: UDP 127.0.0.1 port 500 needs privilege: run as root, give CAP_NET_BIND_SERVICE, "
        "or choose a port above 1023"
    )


def test_unprivileged_listener() -> None:
    """A high port works for any user, though the large buffer is refused to it."""
    assert told_as_nobody(lambda: sockets.listener("127.0.0.1", 0).close()) == "nothing"


def test_refused_listener_leaves_no_socket_open() -> None:
    """Neither a refused listener nor a refused upstream socket costs a file descriptor."""
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(sockets.BindError):
        sockets.listener("203.0.113.10", 500)
    with pytest.raises(OSError, match="assign"):
        sockets.upstream(("203.0.113.10", 0), ("127.0.0.1", 500), transparent=False)
    assert len(os.listdir("/proc/self/fd")) == files


def test_both_families_share_a_port() -> None:
    """A service on :: does not take the IPv4 port of the same number."""
    six = sockets.listener("::", 0)
    four = sockets.listener("0.0.0.0", six.getsockname()[1])
    six.close()
    four.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_fragments_are_allowed(host: str) -> None:
    """Large datagrams may be fragmented on their way: don't-fragment is off for both kinds of sockets."""
    here = sockets.listener(host, 0)
    there = sockets.upstream((host, 0), here.getsockname(), transparent=False)
    for sock in (here, there):
        if sock.family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, sockets.IPV6_MTU_DISCOVER) == sockets.IP_PMTUDISC_DONT
        else:
            assert sock.getsockopt(socket.IPPROTO_IP, sockets.IP_MTU_DISCOVER) == sockets.IP_PMTUDISC_DONT
        sock.close()


def test_datagrams_lost_in_the_kernel_are_counted() -> None:
    """What a full receive buffer drops is not invisible."""
    sock = sockets.listener("127.0.0.1", 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert sockets.kernel_drops(sock) == 0
    sender = Peer("127.0.0.1")
    for _ in range(100):
        sender.send(bytes(1000), sock.getsockname())
    assert sockets.kernel_drops(sock) > 50
    sender.close()
    sock.close()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ECONNREFUSED, "server-refused"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EAGAIN, "send-buffer-full"),
        (errno.EMSGSIZE, "too-big"),
        (errno.EMFILE, "out-of-files"),
        (errno.EADDRINUSE, "no-source-port"),
        (errno.EPERM, "not-permitted"),
        (errno.EPIPE, "epipe"),
        (None, "unknown-error"),
        (99_999, "unknown-error"),
    ],
)
def test_failures_have_names(number: int | None, reason: str) -> None:
    """Every errno is counted under a word that an operator can look up, never lost."""
    assert send_failure(number) == reason
