"""The event log: bounded, numbered, live for those who keep up, and written to the log."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from engine.control import protocol
from engine.control.calls import MAX_ROWS
from engine.control.records import Event
from engine.events import EVENTS_KEPT, MAX_TEXT_CHARACTERS, SESSION_EVENTS_A_SECOND, UNREAD_EVENTS, EventLog


def happen(events: EventLog, times: int) -> None:
    for _ in range(times):
        events.add("notice", "something", "something happened")


def sessions_end(events: EventLog, times: int) -> None:
    for _ in range(times):
        events.add_of_session("info", "session-ended", "it ended", service="vpn", server="a", client="192.0.2.1")


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


def test_older_pages_end_before_a_number() -> None:
    events = EventLog()
    happen(events, 3)
    sessions_end(events, 3)
    happen(events, 3)
    assert [event.number for event in events.after(0, 4, before=8)] == [4, 5, 6, 7]
    assert [event.number for event in events.after(2, 100, before=5)] == [3, 4]
    assert events.after(0, 10, before=1) == []
    assert events.last_number == 9


def test_a_storm_of_sessions_leaves_rarer_events_in_the_history() -> None:
    events = EventLog()
    happen(events, 2)
    sessions_end(events, EVENTS_KEPT + 5)
    happen(events, 1)
    kept = events.after(0, 3 * EVENTS_KEPT)
    assert [event.number for event in kept if event.kind == "something"] == [1, 2, EVENTS_KEPT + 8]
    assert len(kept) == EVENTS_KEPT + 3
    assert [event.number for event in kept] == sorted(event.number for event in kept)


def test_sessions_are_no_news_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        sessions_end(EventLog(), 1)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


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


@pytest.mark.trio
async def test_a_storm_of_sessions_ends_no_feed_and_hides_nothing_rarer(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left out is counted where it is missing; numbers go on rising."""
    monkeypatch.setattr("engine.events.time.time", trio.current_time)
    events = EventLog()
    seen: list[Event] = []

    async def read() -> None:
        feed = events.subscribe()
        while True:
            seen.append(await anext(feed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        sessions_end(events, 5 * UNREAD_EVENTS)
        await wait_all_tasks_blocked()
        assert len(seen) == SESSION_EVENTS_A_SECOND
        happen(events, 1)
        await wait_all_tasks_blocked()
        left_out = 5 * UNREAD_EVENTS - SESSION_EVENTS_A_SECOND
        assert [event.kind for event in seen[-2:]] == ["left-out", "something"]
        assert seen[-2].text.startswith(f"{left_out:,}".replace(",", " ") + " session events left out")
        await trio.sleep(1)
        sessions_end(events, 1)
        await wait_all_tasks_blocked()
        assert seen[-1].kind == "session-ended"
        nursery.cancel_scope.cancel()
    numbers = [event.number for event in seen]
    assert numbers == sorted(set(numbers))


@pytest.mark.trio
async def test_session_events_leave_half_of_a_slow_readers_room_to_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.events.time.time", trio.current_time)
    events = EventLog()
    feed = events.subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, feed)
        await wait_all_tasks_blocked()
        happen(events, 1)
        await wait_all_tasks_blocked()
        for _ in range(20):
            sessions_end(events, SESSION_EVENTS_A_SECOND)
            await trio.sleep(1)
        happen(events, UNREAD_EVENTS // 2 - 2)
    waiting = [(await anext(feed)).kind for _ in range(UNREAD_EVENTS)]
    assert waiting.count("session-ended") == UNREAD_EVENTS // 2 + 1
    assert waiting.count("something") == UNREAD_EVENTS // 2 - 2
    await feed.aclose()


def test_an_event_that_says_very_much_is_cut_so_that_a_thousand_fit_into_an_answer() -> None:
    log, text = EventLog(), "\x1b" * 1_000_000
    for _ in range(MAX_ROWS):
        log.add("warning", "config-refused", text)
    told = log.after(0, MAX_ROWS)
    assert told[0].text.endswith("…")
    assert len(told[0].text) == MAX_TEXT_CHARACTERS + 1
    assert protocol.encode_result(1, told)
