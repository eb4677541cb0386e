"""The persistence table with pins, against a model that keeps everything in plain lists."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.sessions.persistence import PersistenceRecord, PersistenceTable
from tests.engine.sessions.session_world import World

TIMEOUT_S = 100.0
MOST = 3
CLIENTS = st.sampled_from("uvwxyz")
SERVERS = st.sampled_from("ab")


class Pins(RuleBasedStateMachine):
    """What the operator pinned and the order in which the others were last used decide what is found."""

    @initialize()
    def begin(self) -> None:
        self.servers = World().service.servers
        self.table = PersistenceTable(MOST)
        self.now_s = 0.0
        self.pins: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self.unused: dict[str, float] = {}
        """The others without flows, and when they were last used; the first gives way first."""
        self.flows: list[PersistenceRecord] = []

    @rule(client=CLIENTS, server=SERVERS)
    def pin(self, client: str, server: str) -> None:
        self.table.pin(client, self.servers[server], self.now_s)
        self.others.pop(client, None)
        self.unused.pop(client, None)
        self.pins[client] = server

    @rule(client=CLIENTS, server=SERVERS)
    def flow_begins(self, client: str, server: str) -> None:
        if client not in self.pins:
            if client not in self.others and len(self.others) >= MOST:
                least = next(iter(self.unused or self.others))
                self.others.pop(least)
                self.unused.pop(least, None)
            self.others[client] = server
            self.unused.pop(client, None)
        record = self.table.remember(client, self.servers[server], self.now_s)
        self.table.take(record)
        self.flows.append(record)

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def flow_ends(self, data: st.DataObject) -> None:
        record = self.flows.pop(data.draw(st.integers(0, len(self.flows) - 1)))
        last = all(other is not record for other in self.flows)
        if last and self.table.holds(record) and record.client in self.others:
            self.unused[record.client] = self.now_s
        self.table.leave(record, self.now_s)

    @rule(client=CLIENTS)
    def forget(self, client: str) -> None:
        for record in list(self.table):
            if record.client == client:
                self.table.forget(record)
        for known in (self.pins, self.others, self.unused):
            known.pop(client, None)  # type: ignore[attr-defined]

    @rule(server=SERVERS)
    def server_is_lost(self, server: str) -> None:
        lost = [client for client, known in self.others.items() if known == server]
        assert self.table.forget_server(self.servers[server]) == len(lost)
        for client in lost:
            del self.others[client]
            self.unused.pop(client, None)

    @rule(server=SERVERS)
    def server_is_removed(self, server: str) -> None:
        self.server_is_lost(server)
        left = {name: known for name, known in self.servers.items() if name != server}
        gone = {client for client, known in self.pins.items() if known == server}
        assert {record.client for record in self.table.keep_pins(left)} == gone
        for client in gone:
            del self.pins[client]

    @rule()
    def another_kind_of_persistence(self) -> None:
        self.table.clear()
        self.others.clear()
        self.unused.clear()

    @rule(by_s=st.sampled_from([1.0, 60.0, 150.0]))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s
        for client, used_s in list(self.unused.items()):
            if used_s + TIMEOUT_S <= self.now_s:
                del self.others[client], self.unused[client]
        self.table.expire(TIMEOUT_S, self.now_s, 100)

    @invariant()
    def the_table_finds_what_the_model_has(self) -> None:
        expected = self.others | self.pins
        found = {client: self.table.get(client, TIMEOUT_S, self.now_s) for client in "uvwxyz"}
        assert {client: record.server.name for client, record in found.items() if record} == expected
        assert {record.client for record in self.table.pins} == set(self.pins)
        assert len(self.table) == len(list(self.table)) == len(expected)
        assert all((self.table.pin_of(client) is not None) is (client in self.pins) for client in "uvwxyz")


Pins.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPins = Pins.TestCase
