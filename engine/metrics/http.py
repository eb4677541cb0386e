"""Answers one request of an HTTP/1.1 client: GET /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import h11
import trio
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

PATH: Final = b"/metrics"
TIMEOUT_S: Final = 10.0
"""For the whole exchange, as long as Prometheus waits."""
_HEADER_BYTES = 8192
_READ_BYTES = 4096

Collect = Callable[[], Awaitable[Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    parts: Sequence[bytes]
    header: tuple[str, str] = ("Content-Type", "text/plain; charset=utf-8")


async def answer(stream: trio.abc.Stream, collect: Collect) -> None:
    """Answer one request and close the stream; raises nothing for what the client sends or leaves undone."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
    with trio.move_on_after(TIMEOUT_S):
        async with stream:
            try:
                request = await _request(stream, http)
                if request is not None:
                    await _send(stream, http, await _reply(request, collect), bodiless=request.method == b"HEAD")
            except h11.RemoteProtocolError as error:
                refusal = _Reply(error.error_status_hint, [f"{error}\n".encode()])
                await _send(stream, http, refusal, bodiless=False)
            except trio.BrokenResourceError:
                return


async def _request(stream: trio.abc.Stream, http: h11.Connection) -> h11.Request | None:
    """The request; None: the client left without one."""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
            case h11.Request() as request:
                return request
            case _:
                return None


async def _reply(request: h11.Request, collect: Collect) -> _Reply:
    if request.method not in (b"GET", b"HEAD"):
        return _Reply(405, [b"write GET\n"], ("Allow", "GET, HEAD"))
    if request.target.partition(b"?")[0] != PATH:
        return _Reply(404, [b"the metrics are at %s\n" % PATH])
    return _Reply(200, await collect(), ("Content-Type", CONTENT_TYPE_PLAIN_0_0_4))


async def _send(stream: trio.abc.Stream, http: h11.Connection, said: _Reply, *, bodiless: bool) -> None:
    length = ("Content-Length", str(sum(map(len, said.parts))))
    response = h11.Response(status_code=said.status, headers=[said.header, length, ("Connection", "close")])
    await stream.send_all(http.send(response) or b"")
    for part in () if bodiless else said.parts:
        await stream.send_all(http.send(h11.Data(data=part)) or b"")
    await stream.send_all(http.send(h11.EndOfMessage()) or b"")
