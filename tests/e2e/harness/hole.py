"""A firewall on a real server that drops without a word what clients and the balancer send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from harness.namespaces import Namespace

_TABLE = """
table inet hole {{
  chain in {{
    type filter hook prerouting priority raw
    {drop}
  }}
}}
"""


class Swallowed(Enum):
    """What is dropped; IKE on port 4500 begins with four zero bytes (RFC 3948), right after the UDP header."""

    ALL = "iifname eth0 drop"
    IKE = "udp dport 500 drop; udp dport 4500 @th,64,32 0 drop"
    ESP = "udp dport 4500 @th,64,32 != 0 drop"


@contextmanager
def swallowing(namespace: Namespace, what: Swallowed) -> Iterator[None]:
    """Have a machine get nothing of it in this context."""
    namespace.run("nft", "-f", "-", stdin=_TABLE.format(drop=what.value))
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "inet", "hole")
