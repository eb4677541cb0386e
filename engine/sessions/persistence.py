"""Persistence records: which real server a client returns to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address, ip_network
from itertools import chain

from engine.config.schema import PrefixLengths
from engine.sessions.real_server import RealServer

_OCTETS = {str(value): bytes((value,)) for value in range(256)}


class PersistenceRecord:
    """A client network and its server; alive while it has flows and a timeout after the last; if pinned, for ever."""

    __slots__ = ("client", "flows", "last_used_s", "pinned", "server")

    def __init__(self, client: str, server: RealServer, now_s: float) -> None:
        self.client = client
        self.server = server
        self.flows = 0
        self.last_used_s = now_s
        self.pinned = False

    def expires_s(self, timeout_s: float, now_s: float) -> float:
        """When it expires if nothing more is heard; a timeout from now while it has flows."""
        return (now_s if self.flows else self.last_used_s) + timeout_s


class PersistenceTable:
    """The records of one service, bounded: when full, the one that has been without flows for longest makes room.

    Pinned records are the operator's: they come on top, and nothing but the operator or the configuration ends them.
    """

    def __init__(self, max_records: int) -> None:
        self.max_records = max_records
        self.changed: set[str] | None = None
        """The clients whose records changed since somebody looked; None: nobody does."""
        self._records: dict[str, PersistenceRecord] = {}
        self._unused: OrderedDict[str, PersistenceRecord] = OrderedDict()
        self._pins: dict[str, PersistenceRecord] = {}

    def __len__(self) -> int:
        return len(self._records) + len(self._pins)

    def __iter__(self) -> Iterator[PersistenceRecord]:
        return chain(self._records.values(), self._pins.values())

    @property
    def pins(self) -> Collection[PersistenceRecord]:
        """The pinned records."""
        return self._pins.values()

    def holds(self, record: PersistenceRecord) -> bool:
        """Whether this very record is still in force."""
        return (self._pins if record.pinned else self._records).get(record.client) is record

    def get(self, client: str, timeout_s: float, now_s: float) -> PersistenceRecord | None:
        """The record of a client network, unless it has expired."""
        if pin := self._pins.get(client):
            return pin
        record = self._records.get(client)
        return record if record is not None and record.expires_s(timeout_s, now_s) > now_s else None

    def pin_of(self, client: str) -> PersistenceRecord | None:
        """The pinned record of a client network."""
        return self._pins.get(client)

    def find(self, client: str) -> PersistenceRecord | None:
        """The record of a client network, expired or not."""
        return self._pins.get(client) or self._records.get(client)

    def remember(self, client: str, server: RealServer, now_s: float) -> PersistenceRecord:
        """Point a client network at a server; a pinned one stays where it points."""
        if pin := self._pins.get(client):
            return pin
        self._note(client)
        if record := self._records.get(client):
            record.server = server
            record.last_used_s = now_s
            if client in self._unused:
                self._unused.move_to_end(client)
            return record
        if len(self._records) >= self.max_records:
            self._make_room()
        record = self._records[client] = self._unused[client] = PersistenceRecord(client, server, now_s)
        return record

    def pin(self, client: str, server: RealServer, now_s: float) -> PersistenceRecord:
        """Point a client network at a server for good, whatever it had before."""
        self._note(client)
        record = self._pins.get(client)
        if record is None:
            record = self._records.pop(client, None) or PersistenceRecord(client, server, now_s)
            self._unused.pop(client, None)
            record.pinned = True
            self._pins[client] = record
        record.server = server
        return record

    def take(self, record: PersistenceRecord) -> None:
        """Note that one more flow of the client began."""
        record.flows += 1
        if self.holds(record):
            self._unused.pop(record.client, None)

    def leave(self, record: PersistenceRecord, last_seen_s: float) -> None:
        """Note that a flow of the client ended, and when it was last used."""
        record.flows -= 1
        record.last_used_s = max(record.last_used_s, last_seen_s)
        self._note(record.client)
        if not record.flows and not record.pinned and self.holds(record):
            self._unused[record.client] = record

    def forget(self, record: PersistenceRecord) -> None:
        """Drop a record, pinned or not."""
        if not self.holds(record):
            return
        self._note(record.client)
        if record.pinned:
            del self._pins[record.client]
        else:
            del self._records[record.client]
            self._unused.pop(record.client, None)

    def expire(self, timeout_s: float, now_s: float, limit: int) -> None:
        """Drop what has expired, `limit` records at most.

        Those without flows stand in the order in which they were left, so the first ones expire first, give or take an
        idle timeout: `get` never returns an expired one anyway.
        """
        for _ in range(limit):
            record = next(iter(self._unused.values()), None)
            if record is None or record.expires_s(timeout_s, now_s) > now_s:
                return
            self.forget(record)

    def clear(self) -> None:
        """Drop every record but the pinned ones."""
        for client in self._records:
            self._note(client)
        self._records.clear()
        self._unused.clear()

    def clear_pins(self) -> list[PersistenceRecord]:
        """Drop every pinned record; returns them."""
        gone = list(self._pins.values())
        for pin in gone:
            self._note(pin.client)
        self._pins.clear()
        return gone

    def keep_pins(self, servers: Mapping[str, RealServer]) -> list[PersistenceRecord]:
        """Point every pin at the server that now has its server's name; returns those that are gone for want of one."""
        gone = [pin for pin in self._pins.values() if pin.server.name not in servers]
        for pin in gone:
            self.forget(pin)
        for pin in self._pins.values():
            pin.server = servers[pin.server.name]
        return gone

    def forget_server(self, server: RealServer) -> int:
        """Drop every record that points at a server, but the pinned ones; returns how many."""
        gone = [record for record in self._records.values() if record.server is server]
        for record in gone:
            self.forget(record)
        return len(gone)

    def _note(self, client: str) -> None:
        if self.changed is not None:
            self.changed.add(client)

    def _make_room(self) -> None:
        self.forget(next(iter(self._unused.values() or self._records.values())))


def client_network(host: str, prefix: PrefixLengths) -> str:
    """The network that counts as one client: "198.51.100.7/32".

    Cheap for the usual full-length prefix, since it runs for every new flow.
    """
    if ":" in host:
        host = host.partition("%")[0]
        return f"{host}/128" if prefix.v6 == 128 else str(ip_network(f"{host}/{prefix.v6}", strict=False))
    return f"{host}/32" if prefix.v4 == 32 else str(ip_network(f"{host}/{prefix.v4}", strict=False))


def packed(host: str) -> bytes:
    """An address in network byte order, as hashing schedulers take it; cheap for IPv4, since each new session asks."""
    if ":" not in host:
        return b"".join(map(_OCTETS.__getitem__, host.split(".")))
    return ip_address(host.partition("%")[0]).packed
