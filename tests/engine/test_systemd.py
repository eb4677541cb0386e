"""What systemd is told: a status line, and signs of life that only a pump that works sends."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from engine import systemd
from engine.control.status import Alarm
from engine.events import EventLog
from engine.health.result import ProbeResult
from engine.net.forwarder import Forwarder
from engine.net.pulse import Pulse
from engine.net.pump import Pump
from engine.net.starvation import Starvation
from engine.session_events import SessionEvents
from tests.engine.sessions.session_world import World

BITES_AFTER_S = 20


class Manager:
    """The socket on which systemd listens."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def told(self) -> list[str]:
        """What was notified since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(BITES_AFTER_S * 1_000_000))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield made
    made.socket.close()


@pytest.fixture
def pump() -> Iterator[Pump]:
    events = EventLog()
    forwarder = Forwarder(1, 1, Starvation(events), SessionEvents(events))
    yield Pump(forwarder)
    forwarder.upstreams.close_all()


@pytest.mark.trio
async def test_the_watchdog_is_fed_through_the_pump(manager: Manager, pump: Pump, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.report, pump, lambda: "")
        nursery.start_soon(pump.run)
        await trio.sleep(3 * BITES_AFTER_S)
        assert manager.told().count("WATCHDOG=1") >= 3 * 3
        nursery.cancel_scope.cancel()


def test_an_engine_that_may_open_no_more_files_still_feeds_the_watchdog(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.notify("READY=1")

    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    systemd.notify("WATCHDOG=1")
    assert manager.told() == ["READY=1", "WATCHDOG=1"]


@pytest.mark.trio
async def test_nothing_feeds_the_watchdog_while_the_pump_stands_still(
    manager: Manager, pump: Pump, autojump_clock: MockClock
) -> None:
    """Timers go on, and so does the status line: neither is a proof of life."""
    lines = iter(range(1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.report, pump, lambda: str(next(lines)))
        await trio.sleep(3 * BITES_AFTER_S)
        told = manager.told()
        assert "STATUS=5" in told
        assert "WATCHDOG=1" not in told

        nursery.start_soon(pump.run)
        await trio.sleep(BITES_AFTER_S)
        assert "WATCHDOG=1" in manager.told()
        nursery.cancel_scope.cancel()


def test_beats_that_wait_for_the_pump_neither_block_nor_pile_up(pump: Pump) -> None:
    felt: list[None] = []
    with Pulse(pump, lambda: felt.append(None)) as pulse:
        for _ in range(10_000):
            pulse.beat()
        while pump.round(0.0):
            pass
    assert 0 < len(felt) < 10_000
    assert not pump.round(0.0)


@pytest.mark.trio
async def test_the_status_line_is_told_when_it_changes(
    manager: Manager, pump: Pump, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    line = "1 session"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.report, pump, lambda: line)
        await trio.sleep(5.5 * systemd.STATUS_EVERY_S)  # never just when the next one is due
        assert manager.told() == ["STATUS=1 session"]
        line = "2 sessions"
        await trio.sleep(systemd.STATUS_EVERY_S)
        assert manager.told() == ["STATUS=2 sessions"]
        nursery.cancel_scope.cancel()


def test_the_status_line_names_the_gravest_alarm() -> None:
    servers = World().service.servers.values()
    next(iter(servers)).health.observe(ProbeResult(ok=True, reason="", rtt_s=0.1), 1.0)
    up = f"1 204 sessions, 1 of {len(servers)} real servers up, fast path native"
    assert systemd.status_line(1204, servers, "native", []) == up
    alarms = [Alarm("server-down", "error", 0.0, text, "", "server") for text in ("vpn/b is down", "vpn/c is down")]
    assert systemd.status_line(1204, servers, "native", alarms) == f"{up}, 2 alarms: vpn/b is down"


@pytest.mark.parametrize(
    ("asked", "pid", "expected_s"),
    [("15000000", None, 15.0), ("15000000", os.getpid(), 15.0), ("15000000", 1, 0.0), (None, None, 0.0), ("", 1, 0.0)],
    ids=["of any", "of this", "of another", "none", "empty"],
)
def test_a_watchdog_waits_for_the_process_that_it_names(
    asked: str | None, pid: int | None, expected_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", asked), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(value))
    assert systemd.watchdog_s() == expected_s


def test_a_systemd_that_does_not_read_is_not_waited_for(manager: Manager) -> None:
    for _ in range(2000):
        systemd.notify("STATUS=busy")
    assert manager.told()
