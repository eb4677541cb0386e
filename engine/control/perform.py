"""Which method of the engine carries a call out."""

from __future__ import annotations

from typing import Any

from engine.control import calls
from engine.control.api import EngineApi, Refused


async def perform(api: EngineApi, call: calls.Call[Any], author: str, *, unrestricted: bool) -> object:
    """Carry out a call on behalf of `author`, who is `unrestricted` as the engine's own user; raises `Refused`."""
    match call:
        case calls.GetStatus():
            return api.status()
        case calls.ListSessions(query=query):
            if not 1 <= query.limit <= calls.MAX_ROWS or query.offset < 0:
                raise Refused("invalid", f"ask for 1 to {calls.MAX_ROWS} sessions, from offset 0 on")
            return await api.sessions(query)
        case calls.GetSession(number=number):
            return api.session(number)
        case calls.Explain(client=client):
            return api.explain(client)
        case calls.GetAdvice(service=service, server=server):
            return await api.advice(service, server)
        case calls.ListEvents(after=after, before=before, limit=limit):
            return api.events(after, before, limit)
        case calls.SetServer(service=service, server=server, state=state, weight=weight):
            return await api.set_server(service, server, state=state, weight=weight, author=author)
        case calls.PreviewServer(service=service, server=server, state=state, weight=weight):
            return api.preview_server(service, server, state=state, weight=weight)
        case calls.GetSeries(points=points, service=some_service, server=some_server):
            return api.series(points, some_service, some_server)
        case calls.GetServerHistory(service=service, server=server):
            return api.server_history(service, server)
        case calls.ProbeNow(service=service, server=server):
            return await api.probe_now(service, server)
        case calls.Clear(client=client, session=session):
            return await api.clear(client, session)
        case calls.PreviewClear(client=client, session=session):
            return await api.preview_clear(client, session)
        case calls.Move(client=client, server=server):
            return await api.move(client, server)
        case calls.PreviewMove(client=client, server=server):
            return api.preview_move(client, server)
        case calls.Pin(client=client, server=server):
            return api.pin(client, server)
        case calls.Unpin(client=client):
            return api.unpin(client)
        case calls.ListPins():
            return api.pins()
        case calls.GetSettings():
            return api.settings()
        case calls.MakePlan(base=base, tables=tables):
            return await api.plan(base, tables)
        case calls.Apply(base=base, tables=tables, summary=summary):
            return await api.apply(base, tables, summary=summary, author=author, unrestricted=unrestricted)
        case calls.Reload():
            return await api.reload(author)
        case calls.GetConfig():
            return await api.config()
        case calls.ListHistory(limit=limit):
            return await api.history(limit)
        case calls.PreviewUndo():
            return await api.preview_undo()
        case calls.Undo():
            return await api.undo(author, unrestricted=unrestricted)
        case _:
            raise AssertionError(call)
