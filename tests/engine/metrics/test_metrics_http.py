"""One request, one answer, whatever a client sends or fails to send."""

from __future__ import annotations

from collections.abc import Callable

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from engine.metrics.http import TIMEOUT_S, answer

PARTS = [b"sessions 1\n", b"packets_total 2\n"]


async def collect() -> list[bytes]:
    return PARTS


async def told(said: bytes, *, hang_up: bool = True) -> bytes:
    """What a client that says this is told before the connection is closed."""
    ours, theirs = memory_stream_pair()
    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, collect)
        await ours.send_all(said)
        if hang_up:
            await ours.send_eof()
        async for some in ours:
            heard += some
    return heard


def read(heard: bytes, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer, which is whole."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(heard)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return response.status_code, {name.decode(): value.decode() for name, value in response.headers}, body


def request(method: str = "GET", target: str = "/metrics") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.trio
@pytest.mark.parametrize("target", ["/metrics", "/metrics?name[]=x"])
async def test_the_metrics_are_told_and_the_connection_closed(target: str) -> None:
    status, headers, body = read(await told(request(target=target), hang_up=False))
    assert (status, body) == (200, b"".join(PARTS))
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert headers["connection"] == "close"


@pytest.mark.trio
async def test_head_is_told_how_much_there_would_be() -> None:
    status, headers, body = read(await told(request("HEAD")), "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(b"".join(PARTS))), b"")


@pytest.mark.trio
async def test_another_place_names_the_right_one() -> None:
    assert read(await told(request(target="/")))[::2] == (404, b"the metrics are at /metrics\n")


@pytest.mark.trio
async def test_nothing_can_be_written() -> None:
    status, headers, _ = read(await told(request("POST")))
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.trio
async def test_what_is_not_http_is_a_bad_request() -> None:
    assert read(await told(b"\x16\x03\x01 TLS?\r\n\r\n"))[0] == 400


@pytest.mark.trio
async def test_a_header_without_end_is_refused() -> None:
    assert read(await told(b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 2000))[0] == 431


@pytest.mark.trio
@pytest.mark.parametrize("said", [b"", b"GET /met"])
async def test_who_hangs_up_midway_is_told_nothing_but_that(said: bytes) -> None:
    heard = await told(said)
    assert heard == b"" or read(heard)[0] == 400


@pytest.mark.trio
async def test_who_never_finishes_is_dropped(autojump_clock: MockClock) -> None:
    begun_s = trio.current_time()
    assert await told(b"GET /metrics HTTP/1.1\r\n", hang_up=False) == b""
    assert trio.current_time() - begun_s == TIMEOUT_S


@pytest.mark.trio
async def test_who_does_not_read_is_dropped(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, collect)
        await ours.send_all(request())
    assert trio.current_time() >= TIMEOUT_S


@pytest.mark.trio
async def test_who_is_gone_when_the_answer_comes_hurts_nobody() -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(request())

    async def collect_when_gone() -> list[bytes]:
        await ours.aclose()
        return PARTS

    await answer(theirs, collect_when_gone)


@given(st.one_of(st.binary(), st.builds(lambda head, tail: head + tail, st.just(request()[:-2]), st.binary())))
def test_no_bytes_make_it_fail(said: bytes) -> None:
    run: Callable[..., bytes] = trio.run
    heard = run(told, said)
    assert heard == b"" or heard.startswith(b"HTTP/1.1 ")
