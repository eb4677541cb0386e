"""A raw socket hears datagrams from the ports it is told, which no other socket waits for, and nothing else."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from net_gateway import Peer
from net_nobody import told_as_nobody

from engine.net.overhearing import Overhearing

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may open a raw socket")


@needs_root
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_comes_from_the_ports_is_heard_with_its_source_wherever_it_goes(host: str) -> None:
    with closing(Peer(host)) as asked, closing(Peer(host)) as also, closing(Peer(host)) as other:
        with closing(Peer(host)) as gone:
            nobody = gone.address[1]
        ports = [asked.address[1], also.address[1]]
        with Overhearing(host, ports) as overhearing:
            for peer in (asked, other, also):
                peer.send(b"answer", (host, nobody))
            assert list(overhearing.heard()) == [(host, port, nobody) for port in ports]
            assert list(overhearing.heard()) == []


def test_nobody_else_may() -> None:
    def listen() -> None:
        with Overhearing("127.0.0.1", [500]):
            raise AssertionError("a raw socket without privilege")

    assert told_as_nobody(listen).startswith("PermissionError")
