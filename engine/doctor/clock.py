"""Whether the clock is right: logs and events of servers, clients and balancer are compared by it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Final

from engine.doctor.diagnosis import Diagnosis, Topic

_TOPIC: Final = Topic("kernel", "clock")
_UNSYNCHRONISED: Final = 0x40


class _Timex(ctypes.Structure):
    """The beginning of struct timex (linux/timex.h), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def look_at_clock() -> bool | None:
    """Whether somebody keeps it in step (adjtimex(2), STA_UNSYNC); None: the kernel does not tell."""
    timex = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _UNSYNCHRONISED


def judge_clock(synchronised: bool | None) -> Iterator[Diagnosis]:
    """Whether its times can be trusted."""
    match synchronised:
        case None:
            yield _TOPIC.unchecked("whether the clock is synchronised", why="the kernel does not tell")
        case True:
            yield _TOPIC.ok("the clock is synchronised")
        case False:
            yield _TOPIC.warn(
                "the clock is not synchronised: times of events here cannot be matched with the servers' logs",
                remedy="have systemd-timesyncd or chrony keep it",
                command="timedatectl set-ntp true",
            )
