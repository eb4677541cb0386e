"""Who may do what over the control socket, and what those who may only look can do to the others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from control_peers import Door
from fake_engine import EVENTS, FakeEngine
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.control import calls, protocol, server
from engine.control.access import Credentials

SOMEBODY = Credentials(pid=1, uid=65534, gid=65534)

LOOKING = {
    "hello",
    "status",
    "sessions",
    "session",
    "explain",
    "advice",
    "events",
    "subscribe",
    "preview_server",
    "series",
    "server_history",
    "preview_clear",
    "preview_move",
    "pins",
    "settings",
    "plan",
    "config",
    "history",
    "preview_undo",
}
"""What everybody may do who may connect: it changes nothing and hands out no datagram."""
CHANGING = {"set_server", "probe_now", "clear", "move", "pin", "unpin", "apply", "reload", "undo"}
REVEALING = {"capture"}
"""These take root, the engine's own user, or a member of the control group."""

VALUES: dict[str, Any] = {
    "service": "always-on-vpn",
    "server": "rras-1",
    "client": "198.51.100.7",
    "base": "",
    "tables": {},
    "number": 1,
    "protocol": protocol.PROTOCOL,
}


def parameters(call: type[calls.Call[Any]]) -> dict[str, Any]:
    """What a call cannot do without."""
    return {field.name: VALUES[field.name] for field in msgspec.structs.fields(call) if field.required}


@pytest.fixture
def _looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects may look and no more."""
    monkeypatch.setattr(server, "peer_credentials", lambda _socket: SOMEBODY)


def test_every_call_has_the_right_that_was_thought_of() -> None:
    """A call that is added fails here until somebody has decided who may use it."""
    known = {**calls.CALLS, "hello": calls.SayHello}
    assert {name for name, call in known.items() if call.changing} == CHANGING
    assert {name for name, call in known.items() if call.revealing} == REVEALING
    assert {name for name, call in known.items() if not call.changing and not call.revealing} == LOOKING


@pytest.mark.trio
@pytest.mark.usefixtures("_looking")
async def test_who_may_only_look_can_do_nothing_else(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    for method in sorted(CHANGING | REVEALING):
        answer = await peer.ask(method, **parameters(calls.CALLS[method]))
        assert answer["error"]["code"] == protocol.REFUSED_CODES["denied"], method
    assert engine.changes == []


@pytest.mark.trio
@pytest.mark.usefixtures("_looking")
async def test_who_may_only_look_cannot_keep_the_owners_out(
    door: Door, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    for _ in range(server.MAX_CONNECTIONS - server.KEPT_FOR_OWNERS):
        await door.friend()
    late = await door.stranger()
    answer = await late.receive()
    assert answer is not None
    assert answer["error"]["code"] == protocol.TOO_MANY_CONNECTIONS
    monkeypatch.undo()
    assert "result" in await (await door.friend()).ask("status")


@pytest.mark.trio
async def test_thousands_of_connections_cost_the_others_nothing(door: Door) -> None:
    good = await door.friend()
    for _ in range(3_000):
        stream = await trio.open_unix_socket(door.path)
        await stream.aclose()
    assert "result" in await good.ask("status")
    await wait_all_tasks_blocked()
    assert "result" in await (await door.friend()).ask("status")


@pytest.mark.trio
@pytest.mark.usefixtures("_looking")
async def test_the_lines_of_who_may_only_look_are_short(door: Door) -> None:
    """Half a line is kept for as long as its connection lasts: sixty times a configuration would be half a gigabyte."""
    peer = await door.friend()
    async with trio.open_nursery() as sending:
        sending.start_soon(_send_all, peer.stream, b" " * (2 * server.LOOKERS_MESSAGE_BYTES))
        answer = await peer.receive()
        assert answer is not None
        assert answer["error"]["code"] == protocol.PARSE_ERROR
        assert await peer.receive() is None


@pytest.mark.trio
async def test_before_the_hello_lines_are_short_for_everybody(door: Door) -> None:
    peer = await door.stranger()
    async with trio.open_nursery() as sending:
        sending.start_soon(_send_all, peer.stream, b" " * (2 * server.LOOKERS_MESSAGE_BYTES))
        answer = await peer.receive()
        assert answer is not None
        assert answer["error"]["code"] == protocol.PARSE_ERROR


@pytest.mark.trio
async def test_who_may_change_things_may_send_a_whole_configuration(door: Door) -> None:
    peer = await door.friend()
    comment = "x" * (4 * server.LOOKERS_MESSAGE_BYTES)
    answer = await peer.ask("plan", base="another", tables={"comment": comment})
    assert answer["error"]["data"]["kind"] == "conflict"


@pytest.mark.trio
@pytest.mark.usefixtures("_looking")
async def test_who_may_only_look_has_few_answers_in_work(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    engine.gate = trio.Event()
    for number in range(10):
        await peer.send("sessions", number)
    await wait_all_tasks_blocked()
    assert engine.running == server.LOOKERS_IN_FLIGHT
    engine.gate.set()
    assert len([await peer.receive() for _ in range(10)]) == 10


@pytest.mark.trio
@pytest.mark.usefixtures("_looking")
async def test_who_may_only_look_may_follow_events_and_ask_beside(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    assert (await peer.ask("subscribe"))["result"] is None
    assert "result" in await peer.ask("events")
    engine.publish(EVENTS[0])
    assert (await peer.receive() or {})["method"] == "event"


@pytest.mark.trio
async def test_a_subscriber_that_never_reads_is_dropped(
    door: Door, engine: FakeEngine, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    peer, good = await door.friend(), await door.friend()
    await peer.ask("subscribe")
    long_event = msgspec.structs.replace(EVENTS[0], text="x" * 1_000)
    for _ in range(900):
        engine.publish(long_event)
    await wait_all_tasks_blocked()
    mock_clock.jump(server.SEND_TIMEOUT_S + 1)
    await wait_all_tasks_blocked()
    assert "left an answer unread" in caplog.text
    assert "result" in await good.ask("status")


@pytest.mark.trio
@pytest.mark.parametrize("name", ["alice\x1b[2J", "alice\nERROR forged", "a" * 10_000])
async def test_a_name_that_a_log_could_not_show_is_none(door: Door, name: str) -> None:
    peer = await door.stranger()
    answer = await peer.ask("hello", protocol=protocol.PROTOCOL, user=name)
    assert answer["error"]["code"] == protocol.INVALID_PARAMS


async def _send_all(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
