"""What a running engine tells of itself: rates, series, oldest sessions, alarms."""

from __future__ import annotations

from pathlib import Path
from socket import SOCK_DGRAM

import pytest
import trio
from running_engine import CLIENT, HOSTS, OTHER_CLIENT, VPN, World, refused, service, until, world
from vpn_peers import IKE_PORT, Server

from engine.control.status import Alarm


@pytest.fixture(autouse=True)
def _hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second lasts a twentieth: sockets do not hear of a test's own clock."""
    monkeypatch.setattr("engine.telemetry.telemetry.TICK_S", 0.05)
    monkeypatch.setattr("engine.telemetry.file_watch.LOOK_EVERY_S", 0.05)


def alarm(w: World, kind: str) -> Alarm | None:
    return next((alarm for alarm in w.engine.operations.status().alarms if alarm.kind == kind), None)


@pytest.mark.trio
async def test_rates_of_engine_service_and_server_rise_with_traffic_and_fall_without(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        await until(lambda: w.engine.operations.status().rates.new_sessions > 0)
        assert w.engine.service().rates.bytes_in > 0
        assert w.engine.server("a").rates.packets_out > 0
        assert w.engine.server("b").rates.packets_out == 0
        await w.engine.operations.clear(CLIENT, None)
        await until(lambda: w.engine.server("a").rates.ended_sessions > 0)
        await until(lambda: w.engine.operations.status().rates.ended_sessions == 0)


@pytest.mark.trio
async def test_series_are_of_everything_or_of_what_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        operations = w.engine.operations
        await until(lambda: operations.series(10, None, None)[0].sessions)
        everything = operations.series(10, None, None)
        assert [(one.service, one.server) for one in everything] == [("", ""), ("vpn", ""), ("vpn", "a"), ("vpn", "b")]
        assert [one.sessions[-1] for one in everything] == [1, 1, 1, 0]
        (of_service,) = operations.series(1, "vpn", None)
        assert (of_service.service, of_service.server, of_service.sessions) == ("vpn", "", [1])
        (of_server,) = operations.series(1, "vpn", "b")
        assert (of_server.server, of_server.sessions) == ("b", [0])
        with refused("not-found", "services: vpn"):
            operations.series(1, "nope", None)
        with refused("not-found", "real servers: a, b"):
            operations.series(1, "vpn", "nope")
        with refused("invalid", "name the service"):
            operations.series(1, None, "a")


@pytest.mark.trio
async def test_a_server_tells_the_age_of_its_oldest_session_and_the_path_of_its_data(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert (w.engine.server("a").oldest_session_s, w.engine.server("a").path) == (None, "slow")
        await w.connected()
        await w.connected(OTHER_CLIENT)
        await until(lambda: w.engine.server("b").oldest_session_s is not None)
        oldest_s, younger_s = w.engine.server("a").oldest_session_s, w.engine.server("b").oldest_session_s
        assert oldest_s is not None
        assert younger_s is not None
        assert 0 < younger_s < oldest_s < 10


@pytest.mark.trio
async def test_status_tells_which_configuration_runs_and_which_event_is_the_newest(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before = w.engine.operations.status()
        await w.engine.reload(service(servers="a"))
        after = w.engine.operations.status()
        assert before.config_digest != after.config_digest
        assert after.last_event > before.last_event
        assert after.last_event == w.engine.events("config-applied")[-1].number


@pytest.mark.trio
async def test_an_edit_on_disk_is_an_alarm_until_it_is_in_force(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.edit_on_disk("round-robin", "least-connections")
        await until(lambda: alarm(w, "config-changed"))
        (told,) = w.engine.events("config-changed")
        assert "ikeconsole reload" in told.text
        await w.engine.operations.reload("tester")
        await until(lambda: not alarm(w, "config-changed"))
        assert w.engine.events("config-changed-over")


@pytest.mark.trio
async def test_what_the_engine_itself_writes_is_no_alarm(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for weight in range(1, 6):
            await w.engine.operations.set_server("vpn", "a", state=None, weight=weight, author="tester")
            await trio.sleep(0.1)
        assert w.engine.events("config-changed") == []


@pytest.mark.trio
async def test_a_service_without_servers_to_give_is_an_alarm_until_one_is_enabled(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a")) as w:
        set_server = w.engine.operations.set_server
        await set_server("vpn", "a", state="drain", weight=None, author="tester")
        found = await until(lambda: alarm(w, "no-server"))
        assert (found.severity, found.service) == ("error", "vpn")
        await set_server("vpn", "a", state="enabled", weight=None, author="tester")
        await until(lambda: not alarm(w, "no-server"))


@pytest.mark.trio
async def test_a_server_that_swallows_every_request_is_an_alarm_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.telemetry.silence.ANSWER_DUE_S", 0.2)
    async with world(tmp_path, service(servers="a"), servers="") as w:
        request = w.client().tunnel.init_request()
        with trio.socket.socket(type=SOCK_DGRAM) as mute, trio.socket.socket(type=SOCK_DGRAM) as client:
            await mute.bind((HOSTS["a"], IKE_PORT))
            await client.bind((CLIENT, 0))
            for _ in range(2):
                await client.sendto(request, (VPN, IKE_PORT))
            found = await until(lambda: alarm(w, "no-replies"))
            assert (found.service, found.server) == ("vpn", "a")
        await w.start(Server(HOSTS["a"]))
        await w.connected()
        await until(lambda: not alarm(w, "no-replies"))
