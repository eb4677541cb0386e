"""Tells systemd how the engine is (sd_notify(3)), and proves to its watchdog that datagrams are forwarded."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

import trio

from engine.control.status import Alarm
from engine.net.pulse import Pulse
from engine.net.pump import Pump
from engine.sessions.real_server import RealServer
from engine.wording import count, grouped

STATUS_EVERY_S = 5.0
BEATS = 4
"""In the time after which the watchdog bites."""

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell systemd, if it started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        _speaker().sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", state, error)


async def report(pump: Pump, line: Callable[[], str]) -> None:
    """Keep systemd's status line as `line` gives it, and its watchdog quiet while the pump works, until cancelled."""
    async with trio.open_nursery() as nursery:
        if "NOTIFY_SOCKET" in os.environ:
            nursery.start_soon(_tell_status, line)
        if bites_after_s := watchdog_s():
            nursery.start_soon(_beat, pump, bites_after_s / BEATS)


def watchdog_s() -> float:
    """How long systemd waits for a sign of life before it ends this process (sd_watchdog_enabled(3)); 0: for ever."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    asked = os.environ.get("WATCHDOG_USEC", "")
    return int(asked) / 1e6 if asked.isdecimal() else 0.0


def status_line(sessions: int, servers: Iterable[RealServer], fast_path: str, alarms: Sequence[Alarm]) -> str:
    """The engine in one line, for `systemctl status`."""
    health = [server.health.health for server in servers]
    parts = [
        count(sessions, "session"),
        f"{grouped(health.count('up'))} of {count(len(health), 'real server')} up",
        f"fast path {fast_path}",
    ]
    if alarms:
        parts.append(f"{count(len(alarms), 'alarm')}: {alarms[0].text}")
    return ", ".join(parts)


@cache
def _speaker() -> socket.socket:
    # Made once: the watchdog must hear from an engine that may open no more files. It waits for no systemd.
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


async def _tell_status(line: Callable[[], str]) -> None:
    told = ""
    while True:
        if (now := line()) != told:
            notify(f"STATUS={now}")
            told = now
        await trio.sleep(STATUS_EVERY_S)


async def _beat(pump: Pump, every_s: float) -> None:
    # Not this task's timer but the pump, when it has the beat, tells the watchdog.
    with Pulse(pump, partial(notify, "WATCHDOG=1")) as pulse:
        while True:
            pulse.beat()
            await trio.sleep(every_s)
