"""The return path is put back when the kernel tells of a change; somebody who keeps at it is told of, not for ever."""

from __future__ import annotations

from types import TracebackType
from typing import Self, cast

import pytest
import trio
from trio.testing import MockClock

from engine.control.status import Alarm
from engine.events import EventLog
from engine.net.return_path import ReturnPath
from engine.net.transparent import Part, PlumbingError
from engine.net.upkeep import CONTESTED, LATELY_S, PAUSE_S, SETTLE_S, TRIED_AGAIN_S, Upkeep
from engine.telemetry.alarms import AlarmBoard
from engine.telemetry.return_path import return_path_findings


class Kernel:
    """Stands where the return path and the news of it do."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.looks = 0
        self.gone: list[Part] = []
        self.refuses: Exception | None = None
        self.events = EventLog()
        self.upkeep = Upkeep(cast("ReturnPath", self), self.events)
        self._board = AlarmBoard(self.events)
        self._touched = trio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def take_away(self, *parts: Part) -> None:
        self.gone += parts
        self._touched.set()

    async def touched(self) -> None:
        await self._touched.wait()
        self._touched = trio.Event()

    async def restore(self) -> list[Part]:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        if self.refuses:
            raise self.refuses
        gone, self.gone = self.gone, []
        return gone

    def alarms(self) -> dict[str, Alarm]:
        self._board.post(return_path_findings(self.upkeep), trio.current_time(), 0.0)
        return {alarm.kind: alarm for alarm in self._board.alarms}

    def told(self, kind: str = "return-path-restored") -> list[str]:
        return [event.text for event in self.events.after(0, 1000) if event.kind == kind]


@pytest.fixture
async def kernel(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr("engine.net.upkeep.KernelNews", lambda: made)
    nursery.start_soon(made.upkeep.run)
    return made


@pytest.mark.trio
async def test_without_transparent_services_and_without_changes_nothing_is_looked_at(
    kernel: Kernel, autojump_clock: MockClock
) -> None:
    await trio.sleep(60)
    assert kernel.looks == 0
    kernel.opened.set()
    await trio.sleep(3600)
    assert kernel.looks == 1
    assert (kernel.alarms(), kernel.told()) == ({}, [])


@pytest.mark.trio
async def test_what_is_taken_away_comes_back_at_once_and_is_told_with_who_likely_did_it(
    kernel: Kernel, autojump_clock: MockClock
) -> None:
    kernel.opened.set()
    await trio.sleep(10)
    kernel.take_away(Part.RULE, Part.TABLE)
    await trio.sleep(SETTLE_S + 0.01)
    (told,) = kernel.told()
    assert told == (
        "the rule for fwmark 0x1ce and the nftables table inet ikeconsole had been taken away: put back, clients of "
        "transparent services get answers again; `ip rule flush` takes that away, and systemd-networkd when it "
        "restarts without ManageForeignRoutingPolicyRules=no in networkd.conf; `nft flush ruleset` takes that away, "
        "and with it a restart of nftables.service"
    )
    assert kernel.alarms() == {}


@pytest.mark.trio
async def test_an_alarm_stands_while_it_cannot_be_put_back(kernel: Kernel, autojump_clock: MockClock) -> None:
    kernel.refuses = PlumbingError("`nft -f -` failed: no memory")
    kernel.opened.set()
    await trio.sleep(1)
    alarm = kernel.alarms()["return-path-gone"]
    assert alarm.severity == "error"
    assert alarm.remedy.startswith("`nft -f -` failed: no memory")
    kernel.refuses = OSError("too many open files")
    await trio.sleep(PAUSE_S + TRIED_AGAIN_S)
    unsure = kernel.alarms()["return-path-gone"]
    assert unsure.remedy.startswith("too many open files")
    assert "may have been taken away, and cannot be looked at" in unsure.text
    kernel.refuses = None
    await trio.sleep(PAUSE_S + TRIED_AGAIN_S)
    assert kernel.alarms() == {}
    assert len(kernel.told("return-path-gone")) == len(kernel.told("return-path-gone-over")) == 1


@pytest.mark.trio
async def test_who_takes_it_away_again_and_again_is_an_alarm_and_not_an_event_each_time(
    kernel: Kernel, autojump_clock: MockClock
) -> None:
    kernel.opened.set()
    for _ in range(600):
        kernel.take_away(Part.TABLE)
        await trio.sleep(0.5)
    assert len(kernel.told()) == CONTESTED
    assert 40 < kernel.looks < 80
    assert "two engines" in kernel.alarms()["return-path-contested"].remedy
    await trio.sleep(LATELY_S + 10)
    assert kernel.alarms() == {}


@pytest.mark.trio
async def test_where_the_kernel_tells_nothing_that_is_said(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("engine.net.upkeep.KernelNews", refused)
    kernel = Kernel()
    kernel.opened.set()
    await kernel.upkeep.run()
    (told,) = kernel.told("return-path-unwatched")
    assert told.endswith("Operation not permitted")
