"""A fake engine with as many sessions as a test wants."""

from __future__ import annotations

import asyncio

import msgspec
from fake_engine import FakeEngine

from engine.control.api import Refused
from engine.control.records import SessionDetail, SessionPage, SessionQuery, SessionRow
from engine.control.status import Traffic

SERVERS = ("rras-1", "rras-2")
SORT_KEYS = {"client": lambda row: row.id, "bytes_out": lambda row: row.traffic.bytes_out}


def session(number: int) -> SessionRow:
    """Session 1 is the youngest, and each one's bytes tell its number."""
    return SessionRow(
        id=number,
        service="always-on-vpn",
        server=SERVERS[number % 2],
        client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:4500",
        phase="established",
        age_s=float(number),
        idle_s=1.0,
        traffic=Traffic(bytes_in=1000 * number, bytes_out=(7919 * number) % 100_003),
        path="slow",
        why="scheduled by weighted-least-connections",
        spi_i=f"{number:016x}",
        spi_r=f"{number + 7:016x}",
    )


class ManySessions(FakeEngine):
    """Honours the window, the order and `server:` filters of a query; tests take sessions away and let them age."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.rows = {number: session(number) for number in range(1, count + 1)}
        self.queries: list[SessionQuery] = []
        self.held: asyncio.Event | None = None
        """While not set, the engine takes its time."""

    async def sessions(self, query: SessionQuery) -> SessionPage:
        self._fail()
        self.queries.append(query)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.held is not None:
                await self.held.wait()
        finally:
            self.running -= 1
        wanted = [word.removeprefix("server:") for word in query.filter.split() if word.startswith("server:")]
        rows = [row for row in self.rows.values() if not wanted or row.server in wanted]
        if query.client:
            rows = [row for row in rows if row.client.startswith(f"{query.client}:")]
        rows.sort(key=SORT_KEYS.get(query.sort, lambda row: row.age_s), reverse=query.descending)
        window = rows[query.offset : query.offset + query.limit]
        return SessionPage(total=len(self.rows), matched=len(rows), offset=query.offset, rows=window)

    def session(self, number: int) -> SessionDetail:
        self._fail()
        if number not in self.rows:
            raise Refused("not-found", f"there is no session {number} any more")
        return SessionDetail(row=self.rows[number], vendor="strongSwan", flows=[], persistence=None, messages=[])

    def pass_time(self, seconds: float, *, bytes_in: int = 0) -> None:
        """Let all sessions age, and receive data."""
        for number, row in self.rows.items():
            traffic = msgspec.structs.replace(row.traffic, bytes_in=row.traffic.bytes_in + bytes_in)
            self.rows[number] = msgspec.structs.replace(row, age_s=row.age_s + seconds, traffic=traffic)
