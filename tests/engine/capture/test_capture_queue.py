"""A capture keeps what is bounded, counts what is lost, and ends when it should."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
import trio
from captured_messages import captured
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.capture import capture as limits
from engine.capture.capture import Capture
from engine.capture.captures import MAX_CAPTURES, Captures
from engine.control.api import Refused
from engine.control.captured import Captured

CLIENT = ip_network("198.51.100.7")


def begin(network: str = "198.51.100.7", seconds: float = 60.0, messages: int = 10_000) -> Capture:
    return Captures().begin(ip_network(network), seconds, messages)


def catch(capture: Capture, size_bytes: int = 100) -> int:
    """Offer a message as the forwarder does; returns its number, 0 where it is lost."""
    number = capture.admit(size_bytes)
    if number:
        capture.add(captured(number, bytes(size_bytes)))
    return number


def numbers(told: Captured) -> list[int]:
    return [message.number for message in told.messages]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("network", "host", "wanted"),
    [
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.70", False),
        ("198.51.100.0/24", "198.51.100.70", True),
        ("198.51.100.0/24", "198.51.101.7", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("fe80::7", "fe80::7%eth0", True),
        ("2001:db8::/32", "198.51.100.7", False),
        ("0.0.0.0/0", "198.51.100.7", True),
    ],
)
async def test_it_wants_the_clients_of_its_network(network: str, host: str, wanted: bool) -> None:
    assert begin(network).wants(host) is wanted


@pytest.mark.trio
async def test_a_reader_gets_what_came_and_then_waits_for_more(autojump_clock: MockClock) -> None:
    capture = begin()
    assert [catch(capture) for _ in range(3)] == [1, 2, 3]
    assert numbers(await anext(capture)) == [1, 2, 3]
    told: list[Captured] = []

    async def read() -> None:
        told.append(await anext(capture))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert told == []
        catch(capture)
    assert numbers(told[0]) == [4]
    assert told[0].ended == ""


@pytest.mark.trio
async def test_what_there_is_no_room_for_is_lost_and_the_gap_says_how_much() -> None:
    capture = begin()
    for _ in range(limits.WAITING_MESSAGES):
        assert catch(capture)
    assert [catch(capture) for _ in range(7)] == [0] * 7
    first = await anext(capture)
    assert numbers(first) == list(range(1, limits.TOLD_MESSAGES + 1))
    assert first.seen == limits.WAITING_MESSAGES + 7
    assert catch(capture) == limits.WAITING_MESSAGES + 8
    read = numbers(first)
    while len(read) < limits.WAITING_MESSAGES + 1:
        read += numbers(await anext(capture))
    assert read[-2:] == [limits.WAITING_MESSAGES, limits.WAITING_MESSAGES + 8]


@pytest.mark.trio
async def test_big_messages_fill_the_queue_by_their_bytes() -> None:
    capture = begin()
    kept = 0
    while catch(capture, 65_000):
        kept += 1
    assert kept == limits.WAITING_BYTES // 65_000
    told = await anext(capture)
    assert sum(len(message.data) for message in told.messages) < limits.TOLD_BYTES + 65_000
    assert catch(capture, 65_000)


@pytest.mark.trio
async def test_it_ends_after_its_time_with_what_was_caught(autojump_clock: MockClock) -> None:
    capture = begin(seconds=30.0)
    catch(capture)
    assert (await anext(capture)).ended == ""
    last = await anext(capture)
    assert trio.current_time() == pytest.approx(30.0)
    assert (last.messages, last.seen, last.ended) == ([], 1, "30 s are over: its limit")
    assert not capture.wants("198.51.100.7")
    with pytest.raises(StopAsyncIteration):
        await anext(capture)


@pytest.mark.trio
async def test_it_ends_after_its_number_of_messages_and_tells_them_all() -> None:
    capture = begin(messages=limits.TOLD_MESSAGES + 1)
    while capture.wants("198.51.100.7"):
        catch(capture)
    first, last = [told async for told in capture]
    assert (len(first.messages), first.ended) == (limits.TOLD_MESSAGES, "")
    assert (len(last.messages), last.ended) == (1, "101 messages captured: its limit")


@pytest.mark.trio
async def test_messages_lost_at_the_very_end_are_told_too(autojump_clock: MockClock) -> None:
    capture = begin(seconds=30.0)
    for _ in range(limits.WAITING_MESSAGES + 5):
        catch(capture)
    told = [one async for one in capture]
    kept = sum(len(one.messages) for one in told)
    assert (kept, told[-1].seen) == (limits.WAITING_MESSAGES, limits.WAITING_MESSAGES + 5)


@pytest.mark.trio
async def test_only_a_few_run_at_once_and_a_closed_one_makes_room() -> None:
    captures = Captures()
    running = [captures.begin(CLIENT, 60.0, 100) for _ in range(MAX_CAPTURES)]
    with pytest.raises(Refused, match=r"198\.51\.100\.7/32"):
        captures.begin(CLIENT, 60.0, 100)
    await running[0].aclose()
    await running[0].aclose()
    assert captures.running == running[1:]
    captures.begin(CLIENT, 60.0, 100)
