"""Answers from elsewhere are looked for while clients wait, and only a waiting client's counts."""

from __future__ import annotations

from typing import cast

import pytest
import trio
from telemetry_world import Sessions, real_server, service
from trio.testing import MockClock

from engine.config.schema import Source
from engine.deployment import Deployment
from engine.sessions.service import Service
from engine.telemetry.strangers import LOOK_EVERY_S, OVERHEAR_S, watch_past_return_path, watch_past_sockets


class Kernel:
    """Stands where the deployment does: one service, and what passed it by."""

    def __init__(self, service: Service, *heard: tuple[str, str]) -> None:
        self.services = {service.name: service}
        self.asked = 0
        self.refuses: OSError | None = None
        self._heard = list(heard)

    async def strangers(self) -> list[tuple[str, str]]:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise self.refuses
        return self._heard

    async def looked_at(self, times: int) -> None:
        with trio.move_on_after(LOOK_EVERY_S * (times + 0.5)):
            await watch_past_return_path(cast("Deployment", self))


@pytest.mark.trio
async def test_an_answer_from_elsewhere_is_noted_for_the_client_that_waits_for_it(autojump_clock: MockClock) -> None:
    server, sessions = real_server("a"), Sessions()
    vpn = service(server)
    waiting, answered = (sessions.begin(vpn, server, 0.0) for _ in range(2))
    sessions.answer(answered)
    heard = [("10.0.0.99", host) for host in (waiting.host, answered.host, "203.0.113.77")]
    kernel = Kernel(vpn, *heard)
    await kernel.looked_at(2)
    assert kernel.asked == 2
    assert vpn.violations.counts == {"strange-replies": 2}
    assert vpn.violations.latest["strange-replies"].host == waiting.host


@pytest.mark.trio
async def test_want_of_files_for_the_question_ends_nothing(autojump_clock: MockClock) -> None:
    server, sessions = real_server("a"), Sessions()
    vpn = service(server)
    waiting = sessions.begin(vpn, server, 0.0)
    kernel = Kernel(vpn, ("10.0.0.99", waiting.host))
    kernel.refuses = OSError("too many open files")
    await kernel.looked_at(3)
    assert kernel.asked == 3
    assert vpn.violations.counts == {}
    kernel.refuses = None
    await kernel.looked_at(1)
    assert vpn.violations.counts == {"strange-replies": 1}


@pytest.mark.parametrize(("source", "half_open"), [(Source.TRANSPARENT, False), (Source.SNAT, True)])
@pytest.mark.trio
async def test_the_kernel_is_left_in_peace_where_it_can_tell_nothing(
    autojump_clock: MockClock, source: Source, half_open: bool
) -> None:
    server, sessions = real_server("a"), Sessions()
    vpn = service(server, source=source)
    if half_open:
        sessions.begin(vpn, server, 0.0)
    kernel = Kernel(vpn)
    await kernel.looked_at(3)
    assert kernel.asked == 0


HEARD = {
    "another address": [("10.0.0.99", 500, 40_001)],
    "the server itself": [("10.0.0.11", 500, 40_001)],
    "a port of nobody's": [("10.0.0.99", 500, 40_002)],
}


@pytest.mark.parametrize("heard", HEARD)
@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.trio
async def test_what_comes_past_an_snat_socket_is_noted_when_its_server_answers_nobody(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, heard: str, silent: bool
) -> None:
    opened: list[tuple[str, set[int]]] = []

    class Overheard:
        def __init__(self, host: str, ports: set[int]) -> None:
            opened.append((host, ports))

        def __enter__(self) -> Overheard:
            return self

        def __exit__(self, *exc_info: object) -> None:
            opened.append(("closed", set()))

        def heard(self) -> list[tuple[str, int, int]]:
            return HEARD[heard]

    monkeypatch.setattr("engine.telemetry.strangers.Overhearing", Overheard)
    server, sessions = real_server("a"), Sessions()
    vpn = service(server, source=Source.SNAT)
    sessions.begin(vpn, server, 0.0).flows[0].source = ("10.0.9.1", 40_001)
    with trio.move_on_after(LOOK_EVERY_S + OVERHEAR_S + 1):
        await watch_past_sockets(lambda asked: int(silent), sessions.table.half_open.values)
    assert opened == ([("10.0.0.11", {500}), ("closed", set())] if silent else [])
    assert vpn.violations.counts == ({"strange-replies": 1} if silent and heard == "another address" else {})


@pytest.mark.trio
async def test_without_the_privilege_to_overhear_the_engine_goes_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refused(host: str, ports: set[int]) -> None:
        tried.append(host)
        raise PermissionError

    monkeypatch.setattr("engine.telemetry.strangers.Overhearing", refused)
    server, sessions = real_server("a"), Sessions()
    sessions.begin(service(server, source=Source.SNAT), server, 0.0)
    with trio.move_on_after(LOOK_EVERY_S * 3.5):
        await watch_past_sockets(lambda asked: 1, sessions.table.half_open.values)
    assert len(tried) == 3
