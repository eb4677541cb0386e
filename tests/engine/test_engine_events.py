"""The event log: bounded, numbered, live for those who keep up, and written to the log."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from engine.control.records import Event
from engine.events import EVENTS_KEPT, UNREAD_EVENTS, EventLog


def happen(events: EventLog, times: int) -> None:
    for _ in range(times):
        events.add("notice", "something", "something happened")


async def collect(events: EventLog, into: list[int]) -> None:
    feed = events.subscribe()
    while True:
        into.append((await anext(feed)).number)


def test_an_event_tells_what_when_and_whom_it_concerns() -> None:
    events = EventLog()
    events.add("error", "server-down", "vpn/a is down", service="vpn", server="a", client="192.0.2.1")
    (event,) = events.after(0, 10)
    assert event == Event(
        number=1,
        at=event.at,
        severity="error",
        kind="server-down",
        text="vpn/a is down",
        service="vpn",
        server="a",
        client="192.0.2.1",
    )
    assert event.at > 1_700_000_000


def test_the_newest_events_after_a_number_come_oldest_first() -> None:
    events = EventLog()
    happen(events, 10)
    assert [event.number for event in events.after(0, 3)] == [8, 9, 10]
    assert [event.number for event in events.after(8, 100)] == [9, 10]
    assert events.after(10, 100) == []
    assert events.after(0, 0) == []


def test_old_events_give_way_to_new_ones() -> None:
    events = EventLog()
    happen(events, EVENTS_KEPT + 5)
    kept = events.after(0, EVENTS_KEPT * 2)
    assert (len(kept), kept[0].number, kept[-1].number) == (EVENTS_KEPT, 6, EVENTS_KEPT + 5)


@pytest.mark.parametrize(
    ("severity", "level"),
    [("info", logging.INFO), ("notice", logging.INFO), ("warning", logging.WARNING), ("error", logging.ERROR)],
)
def test_every_event_is_logged_as_loud_as_it_is_severe(
    severity: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        EventLog().add(severity, "something", "it happened")
    assert [(record.levelno, record.message) for record in caplog.records] == [(level, "something: it happened")]


@pytest.mark.trio
async def test_every_subscriber_gets_each_event_from_then_on(autojump_clock: trio.testing.MockClock) -> None:
    events = EventLog()
    happen(events, 2)
    first: list[int] = []
    second: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, events, first)
        await wait_all_tasks_blocked()
        happen(events, 1)
        nursery.start_soon(collect, events, second)
        await wait_all_tasks_blocked()
        happen(events, 2)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (first, second) == ([3, 4, 5], [4, 5])
    happen(events, 1)


@pytest.mark.trio
async def test_a_reader_too_far_behind_gets_what_waits_for_it_and_then_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = EventLog()
    slow: list[int] = []
    quick: list[int] = []

    async def dawdle() -> None:
        async for event in events.subscribe():
            slow.append(event.number)
            if event.number == 1:
                await trio.sleep(60)
        ended.set()

    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dawdle)
        nursery.start_soon(collect, events, quick)
        await wait_all_tasks_blocked()
        for _ in range(UNREAD_EVENTS + 10):
            happen(events, 1)
            await wait_all_tasks_blocked()
        with trio.fail_after(120):
            await ended.wait()
        assert slow == list(range(1, UNREAD_EVENTS + 2))
        assert quick == list(range(1, UNREAD_EVENTS + 11))
        nursery.cancel_scope.cancel()
