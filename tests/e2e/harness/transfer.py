"""Numbered datagrams through a tunnel and back, to find what is lost, doubled or overtaken on the way."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.namespaces import Namespace
from harness.peers import Client, Server
from harness.plan import BEHIND
from harness.socket_room import enlarge
from harness.waiting import eventually

_NUMBER_BYTES = 4
_LAST_WORD_S = 1.0
"""How long an echo may take after all was sent."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The numbers of the datagrams that came to one end, in the order in which they came."""

    sent: int
    arrived: Sequence[int]

    @property
    def lost(self) -> list[int]:
        """Those that did not come."""
        return sorted(set(range(self.sent)) - set(self.arrived))

    @property
    def doubled(self) -> int:
        """How many came once more."""
        return len(self.arrived) - len(set(self.arrived))

    @property
    def furthest_behind(self) -> int:
        """By how many numbers the most belated came after one that was sent later."""
        furthest = newest = 0
        for number in self.arrived:
            newest = max(newest, number)
            furthest = max(furthest, newest - number)
        return furthest


class Transfer:
    """Datagrams sent at a steady rate to an echo behind a server, while it runs."""

    def __init__(self, near: socket.socket, far: socket.socket, every_s: float, size_bytes: int) -> None:
        self._near, self._far = near, far
        self._echo = far.getsockname()
        self._every_s = every_s
        self._filling = bytes(size_bytes - _NUMBER_BYTES)
        self._sent = 0
        self._arrived: list[int] = []
        self._echoed: list[int] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def go_on(self, count: int, timeout_s: float = 5) -> None:
        """Wait until so many more were echoed."""
        wanted = len(self._echoed) + count
        eventually(lambda: len(self._echoed) >= wanted, f"{count} more datagrams are echoed", timeout_s)

    @property
    def echoed(self) -> int:
        """How many have come back so far."""
        return len(self._echoed)

    def finish(self) -> tuple[Passed, Passed]:
        """Stop sending; what came to the server, and what came back from it."""
        self.stop()
        return Passed(self._sent, self._arrived), Passed(self._sent, self._echoed)

    def stop(self) -> None:
        """Stop sending and wait for what is under way."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        next_s = time.monotonic()
        until_s = float("inf")
        while (now_s := time.monotonic()) < until_s and not (self._all_back and until_s < float("inf")):
            if self._stopping.is_set():
                until_s = min(until_s, now_s + _LAST_WORD_S)
            elif now_s >= next_s:
                number = self._sent.to_bytes(_NUMBER_BYTES, "big")
                # What is refused, because a tunnel's device is gone for instance, is lost as well.
                with suppress(OSError):
                    self._near.sendto(number + self._filling, self._echo)
                self._sent += 1
                next_s = now_s + self._every_s
            self._receive(max(0.0, next_s - now_s) if until_s == float("inf") else self._every_s)

    @property
    def _all_back(self) -> bool:
        return len(self._echoed) >= self._sent

    def _receive(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._near, self._far], [], [], timeout_s)
        for end in ready:
            data, sender = end.recvfrom(65535)
            number = int.from_bytes(data[:_NUMBER_BYTES], "big")
            if end is self._near:
                self._echoed.append(number)
            else:
                self._arrived.append(number)
                with suppress(OSError):
                    end.sendto(data, sender)


@contextmanager
def transferring(
    client: Client, server: Server, *, every_s: float = 0.002, size_bytes: int = 200
) -> Iterator[Transfer]:
    """Have datagrams go through a client's tunnel and back; they stop at the end."""
    with (
        _bound(client.node.namespace, client.tunnel().virtual_address) as near,
        _bound(server.node.namespace, BEHIND) as far,
    ):
        transfer = Transfer(near, far, every_s, size_bytes)
        try:
            yield transfer
        finally:
            transfer.stop()


def _bound(namespace: Namespace, address: str) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enlarge(made)
    made.bind((address, 0))
    return made
