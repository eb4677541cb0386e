"""Reading the load agent over HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from engine.config.schema import Agent, Duration
from engine.health.agent import AgentLoad, read_load


class Scripted:
    """An agent that sends fixed bytes to everyone; `requests` holds what it was sent."""

    def __init__(self, port: int) -> None:
        self.agent = Agent(port=port, timeout_s=Duration(2))
        self.requests: list[bytes] = []


@asynccontextmanager
async def scripted(answer: bytes, *, hold_open: bool = False) -> AsyncIterator[Scripted]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Scripted(listener.socket.getsockname()[1])

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            server.requests.append(await stream.receive_some(4096))
            try:
                await stream.send_all(answer)
                if hold_open:
                    await trio.sleep_forever()
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


def page(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def load_of(answer: bytes) -> AgentLoad:
    async with scripted(answer) as server:
        return await read_load("127.0.0.1", server.agent)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"0", AgentLoad(0, "load 0")),
        (b" 45\r\n", AgentLoad(45, "load 45")),
        (b"100", AgentLoad(100, "load 100")),
        (b"101", AgentLoad(101, "the agent says down")),
        (b"102", AgentLoad(102, "the agent says disabled")),
    ],
)
async def test_number_is_the_load(body: bytes, expected: AgentLoad) -> None:
    """Every number an agent may say is taken, with blanks around it."""
    assert await load_of(page(body)) == expected


@pytest.mark.trio
async def test_request_is_a_plain_get() -> None:
    """The agent gets one GET of its path with a Host and no wish to keep the connection."""
    async with scripted(page(b"7")) as server:
        await read_load("127.0.0.1", server.agent)
    [request] = server.requests
    lines = request.split(b"\r\n")
    assert lines[0] == b"GET /load HTTP/1.1"
    assert b"Host: 127.0.0.1:%d" % server.agent.port in lines
    assert b"Connection: close" in lines


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n",
    ],
    ids=["until-close", "chunked"],
)
async def test_every_framing_of_http_is_read(answer: bytes) -> None:
    """Small agents end the body by closing, others send it in chunks."""
    assert await load_of(answer) == AgentLoad(12, "load 12")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(b"103"), "not a number from 0 to 102"),
        (page(b"-1"), "not a number from 0 to 102"),
        (page(b"idle"), "'idle', not a number"),
        (page(b""), "not a number"),
        (page("٣".encode()), "not a number"),
        (page(b"\xff\xfe\x1b[2J"), "not a number"),
        (page(b"1", b"404 Not Found"), "HTTP status 404"),
        (page(b"1" * 2000), "longer than 1024 bytes"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20000, "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n\x00" + b"a" * 3000 + b"\r\n\r\n", "no valid HTTP"),
        (b"", "no valid HTTP"),
    ],
    ids=[
        "above-range",
        "negative",
        "word",
        "empty-body",
        "foreign-digit",
        "binary",
        "not-found",
        "long-body",
        "other-protocol",
        "cut-short",
        "long-headers",
        "bad-header",
        "closed",
    ],
)
async def test_anything_else_is_no_load_with_a_reason(answer: bytes, words: str) -> None:
    """Nonsense, errors and too much of it leave the load unknown and say why."""
    found = await load_of(answer)
    assert found.load is None
    assert words in found.reason
    assert found.reason.isprintable()
    assert len(found.reason) < 200


@pytest.mark.trio
async def test_silent_agent_times_out(patient_clock: trio.testing.MockClock) -> None:
    """An agent that accepts and never answers costs no more than the timeout."""
    async with scripted(b"HTTP/1.1 200 OK\r\n", hold_open=True) as server:
        started_s = trio.current_time()
        assert await read_load("127.0.0.1", server.agent) == AgentLoad(None, "no answer in 2s")
        assert trio.current_time() - started_s == pytest.approx(2.0)


@pytest.mark.trio
async def test_absent_agent_is_told_in_words() -> None:
    """Where no agent was installed the reason says that nothing listens."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    found = await read_load("127.0.0.1", Agent(port=port))
    assert found == AgentLoad(None, f"connection refused: nothing listens on TCP {port}")
