"""Answers what is asked of the session table, a slice at a time between turns of the forwarder."""

from __future__ import annotations

import msgspec
import trio

from engine.control.records import SessionPage, SessionQuery, SessionRow
from engine.reports import session_row
from engine.sessions.browsing import Order, Orders
from engine.sessions.filter_line import parse
from engine.sessions.query import Filter, make_filter, slices
from engine.sessions.table import SessionTable


class Browser:
    """Windows of the session table; an order may serve several windows of one question."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._orders = Orders()

    async def page(self, query: SessionQuery) -> SessionPage:
        """The window that a query asks for; raises BadQuery."""
        order = await self._order(query)
        rows: list[SessionRow] = []
        for numbers in slices(order.window(query.offset, query.limit)):
            now_s = trio.current_time()
            for session in filter(None, map(self._table.sessions.get, numbers)):
                self._table.refresh(session, now_s)
                rows.append(session_row(session, now_s))
            await trio.lowlevel.checkpoint()
        return SessionPage(total=len(self._table.sessions), matched=len(order), offset=query.offset, rows=rows)

    async def _order(self, query: SessionQuery) -> Order:
        line = " ".join(query.filter.split())
        question = msgspec.structs.replace(query, filter=line, offset=0, limit=0, max_age_s=0.0)
        oldest_s = trio.current_time() - query.max_age_s
        order = self._orders.get(question, oldest_s) if query.max_age_s > 0 else None
        if order is not None and self._bring_up_to_date(order):
            return order
        condition = Filter(_fields(query).tests + parse(line).tests)
        order = Order(trio.current_time(), self._table.ended)
        for _ in order.arrange(list(self._table.sessions.values()), condition, query.sort, query.descending):
            await trio.lowlevel.checkpoint()
        self._bring_up_to_date(order)
        self._orders.put(question, order)
        return order

    def _bring_up_to_date(self, order: Order) -> bool:
        """Take the sessions out that have ended meanwhile; False: so many have that nobody knows which."""
        ended = self._table.ended_since(order.ended)
        if ended is None:
            return False
        order.leave_out(ended, self._table.ended)
        return True


def _fields(query: SessionQuery) -> Filter:
    return make_filter(
        service=query.service,
        server=query.server,
        client=query.client,
        spi=query.spi,
        phase=query.phase,
        vendor=query.vendor,
        error=query.error,
        idle_over_s=query.idle_over_s,
    )
