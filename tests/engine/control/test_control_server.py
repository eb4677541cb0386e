"""The control server over a real Unix socket: who may do what, and that no client disturbs the others."""

from __future__ import annotations

import logging
import os

import msgspec
import pytest
import trio
from captured_messages import CAPTURED
from control_peers import Door
from fake_engine import EVENTS, STATUS, FakeEngine
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.control import protocol, server
from engine.control.access import Credentials
from engine.control.api import Refused
from engine.control.captured import Captured
from engine.control.status import EngineStatus

NOBODY = Credentials(pid=1, uid=65534, gid=65534)


@pytest.mark.trio
async def test_hello_says_who_serves_and_that_root_may_change(door: Door) -> None:
    answer = await (await door.stranger()).ask("hello", protocol=protocol.PROTOCOL)
    assert answer["result"] == {
        "protocol": protocol.PROTOCOL,
        "version": STATUS.version,
        "host": "vpn-edge-1",
        "pid": os.getpid(),
        "config_path": "/etc/ikeconsole/config.toml",
        "may_change": True,
    }


@pytest.mark.trio
@pytest.mark.parametrize(("theirs", "older"), [(-1, "the client"), (1, "the engine")])
async def test_another_protocol_version_is_told_which_side_to_upgrade(door: Door, theirs: int, older: str) -> None:
    peer = await door.stranger()
    answer = await peer.ask("hello", protocol=protocol.PROTOCOL + theirs)
    assert answer["error"]["code"] == protocol.WRONG_PROTOCOL
    assert answer["error"]["message"].endswith(f"upgrade {older}")
    assert await peer.receive() is None


@pytest.mark.trio
async def test_nothing_is_answered_before_the_hello(door: Door) -> None:
    peer = await door.stranger()
    answer = await peer.ask("status")
    assert answer["error"]["code"] == protocol.INVALID_REQUEST
    assert await peer.receive() is None


@pytest.mark.trio
async def test_a_client_that_says_nothing_loses_its_place(door: Door, mock_clock: MockClock) -> None:
    peer = await door.stranger()
    await wait_all_tasks_blocked()
    mock_clock.jump(server.HELLO_TIMEOUT_S + 1)
    assert await peer.receive() is None


@pytest.mark.trio
async def test_every_looking_call_returns_the_engines_records(door: Door) -> None:
    peer = await door.friend()
    assert msgspec.convert((await peer.ask("status"))["result"], EngineStatus) == STATUS
    assert (await peer.ask("sessions", query={"server": "sswan-1"}))["result"]["matched"] == 1
    assert (await peer.ask("session", number=1))["result"]["row"]["client"] == "198.51.100.7:4500"
    assert (await peer.ask("explain", client="198.51.100.7"))["result"][0]["next_server"] == "rras-1"
    assert [event["number"] for event in (await peer.ask("events", after=1))["result"]] == [2, 3]
    assert (await peer.ask("config"))["result"]["on_disk_differs"] is True
    assert (await peer.ask("history"))["result"][0]["author"] == "alice"


@pytest.mark.trio
async def test_changing_calls_reach_the_engine_with_their_author(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    await peer.ask("set_server", service="always-on-vpn", server="rras-2", state="drain")
    await peer.ask("clear", client="198.51.100.7")
    await peer.ask("move", client="198.51.100.7", server="rras-1")
    await peer.ask("reload")
    await peer.ask("undo")
    assert engine.changes == [
        ("set_server", "always-on-vpn", "rras-2", "drain", None, "root"),
        ("clear", "198.51.100.7", None),
        ("move", "198.51.100.7", "rras-1"),
        ("reload", "root"),
        ("undo", "root"),
    ]


@pytest.mark.trio
async def test_history_names_who_called_through_sudo(door: Door, engine: FakeEngine) -> None:
    peer = await door.stranger()
    await peer.ask("hello", protocol=protocol.PROTOCOL, user="alice")
    await peer.ask("reload")
    assert engine.changes == [("reload", "alice (root)")]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("set_server", {"service": "always-on-vpn", "server": "rras-1", "state": "drain"}),
        ("clear", {"client": "198.51.100.7"}),
        ("move", {"client": "198.51.100.7", "server": "rras-1"}),
        ("reload", {}),
        ("undo", {}),
        ("capture", {"client": "198.51.100.7"}),
    ],
)
async def test_a_peer_without_the_right_looks_but_does_not_change(
    door: Door,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    params: dict[str, object],
) -> None:
    monkeypatch.setattr(server, "peer_credentials", lambda _socket: NOBODY)
    peer = await door.stranger()
    assert (await peer.ask("hello", protocol=protocol.PROTOCOL))["result"]["may_change"] is False
    assert "result" in await peer.ask("status")
    error = (await peer.ask(method, **params))["error"]
    assert error["code"] == protocol.REFUSED_CODES["denied"]
    assert error["data"]["kind"] == "denied"
    assert "sudo" in error["data"]["details"][0]
    assert engine.changes == []


@pytest.mark.trio
async def test_a_refusal_carries_its_kind_and_details(door: Door) -> None:
    peer = await door.friend()
    error = (await peer.ask("set_server", service="a", server="b", weight=1))["error"]
    assert error["code"] == protocol.REFUSED_CODES["not-found"]
    assert error["data"] == {"kind": "not-found", "details": ["known: always-on-vpn/rras-1"]}


@pytest.mark.trio
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("dance", {}, protocol.METHOD_NOT_FOUND),
        ("move", {"client": "a"}, protocol.INVALID_PARAMS),
        ("move", {"client": 5, "server": "b"}, protocol.INVALID_PARAMS),
        ("status", {"verbose": True}, protocol.INVALID_PARAMS),
        ("events", {"limit": 10**9}, protocol.INVALID_PARAMS),
        ("sessions", {"query": {"limit": 10**9}}, protocol.REFUSED_CODES["invalid"]),
        ("sessions", {"query": {"offset": -1}}, protocol.REFUSED_CODES["invalid"]),
        ("hello", {"protocol": protocol.PROTOCOL}, protocol.METHOD_NOT_FOUND),
    ],
)
async def test_a_wrong_call_is_refused_and_the_connection_goes_on(
    door: Door, method: str, params: dict[str, object], code: int
) -> None:
    peer = await door.friend()
    assert (await peer.ask(method, **params))["error"]["code"] == code
    assert "result" in await peer.ask("status")


@pytest.mark.trio
@pytest.mark.parametrize("line", [b"[]", b'"status"', b'{"method":"status"}', b'{"id":1,"method":7}'])
async def test_json_that_is_no_request_is_refused_and_the_connection_goes_on(door: Door, line: bytes) -> None:
    peer = await door.friend()
    await peer.stream.send_all(line + b"\n")
    answer = await peer.receive()
    assert answer is not None
    assert (answer["id"], answer["error"]["code"]) == (None, protocol.INVALID_REQUEST)
    assert "result" in await peer.ask("status")


@pytest.mark.trio
@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 not json\n", b"\n", b"\xff\xfe\n"])
async def test_garbage_is_a_parse_error_and_ends_only_that_connection(door: Door, garbage: bytes) -> None:
    good, bad = await door.friend(), await door.friend()
    await bad.stream.send_all(garbage)
    answer = await bad.receive()
    assert answer is not None
    assert answer["error"]["code"] == protocol.PARSE_ERROR
    assert await bad.receive() is None
    assert "result" in await good.ask("status")


@pytest.mark.trio
async def test_a_message_without_end_ends_only_that_connection(door: Door) -> None:
    good, bad = await door.friend(), await door.friend()
    async with trio.open_nursery() as sending:

        async def flood() -> None:
            try:
                await bad.stream.send_all(b"x" * (2 * protocol.MAX_MESSAGE_BYTES))
            except trio.BrokenResourceError:
                return

        sending.start_soon(flood)
        answer = await bad.receive()
        assert answer is not None
        assert answer["error"]["code"] == protocol.PARSE_ERROR
        assert await bad.receive() is None
    assert "result" in await good.ask("status")


@pytest.mark.trio
async def test_an_exception_in_a_method_is_logged_and_answered(
    door: Door, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await door.friend()
    engine.failure = ZeroDivisionError("secret detail")
    error = (await peer.ask("explain", client="198.51.100.7"))["error"]
    assert error["code"] == protocol.INTERNAL_ERROR
    assert "secret" not in error["message"]
    assert "ZeroDivisionError: secret detail" in caplog.text
    engine.failure = Refused("failed", "disk full")
    assert (await peer.ask("reload"))["error"]["message"] == "disk full"


@pytest.mark.trio
async def test_one_connection_has_a_bounded_number_of_requests_in_work(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    engine.gate = trio.Event()
    asked = server.MAX_IN_FLIGHT * 3
    for number in range(asked):
        await peer.send("sessions", number)
    await wait_all_tasks_blocked()
    assert engine.running == server.MAX_IN_FLIGHT
    engine.gate.set()
    answers = [await peer.receive() for _ in range(asked)]
    assert sorted(answer["id"] for answer in answers if answer) == list(range(asked))
    assert engine.most_running == server.MAX_IN_FLIGHT


@pytest.mark.trio
async def test_connections_over_the_limit_are_told_so_and_a_freed_place_is_given_again(
    door: Door,
) -> None:
    peers = [await door.friend() for _ in range(server.MAX_CONNECTIONS)]
    late = await door.stranger()
    answer = await late.receive()
    assert answer is not None
    assert answer["error"]["code"] == protocol.TOO_MANY_CONNECTIONS
    assert await late.receive() is None
    assert "result" in await peers[0].ask("status")
    await peers[1].stream.aclose()
    await wait_all_tasks_blocked()
    assert "result" in await (await door.friend()).ask("status")


@pytest.mark.trio
async def test_a_client_that_reads_nothing_is_dropped_and_others_are_served_meanwhile(
    door: Door, engine: FakeEngine, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    slow, good = await door.friend(), await door.friend()
    request = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'
    async with trio.open_nursery() as asking:
        asking.start_soon(slow.stream.send_all, request * 20_000)
        await wait_all_tasks_blocked()
        assert "result" in await good.ask("status")
        asking.cancel_scope.cancel()
    mock_clock.jump(server.SEND_TIMEOUT_S + 1)
    await wait_all_tasks_blocked()
    assert "left an answer unread" in caplog.text
    assert "result" in await good.ask("status")
    received = 0
    while await slow.receive():
        received += 1
    assert 0 < received <= engine.times_asked < 1000


@pytest.mark.trio
async def test_a_subscriber_gets_new_events_and_may_still_call(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    assert (await peer.ask("subscribe"))["result"] is None
    engine.publish(EVENTS[0])
    notice = await peer.receive()
    assert notice == {"jsonrpc": "2.0", "method": "event", "params": msgspec.to_builtins(EVENTS[0])}
    assert "result" in await peer.ask("status")
    assert (await peer.ask("subscribe"))["error"]["data"]["kind"] == "conflict"


@pytest.mark.trio
async def test_a_capture_is_told_as_it_goes_and_begins_only_once_at_a_time(door: Door, engine: FakeEngine) -> None:
    engine.captured = []
    peer = await door.friend()
    assert (await peer.ask("capture", client="198.51.100.7", messages=5))["result"] is None
    assert engine.changes == [("capture", "198.51.100.7", 3600.0, 5, "root")]
    assert (await peer.ask("subscribe"))["error"]["data"]["kind"] == "conflict"
    assert engine.capturing is not None
    last = Captured(seen=2, ended="over")
    for captured in (CAPTURED, last):
        engine.capturing.send_nowait(captured)
        notice = await peer.receive()
        assert notice == {"jsonrpc": "2.0", "method": "captured", "params": msgspec.to_builtins(captured)}
    engine.capturing.close()
    await wait_all_tasks_blocked()
    assert "result" in await peer.ask("subscribe")


@pytest.mark.trio
async def test_a_capture_ends_with_its_connection_and_without_a_word_in_the_log(
    door: Door, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    peer = await door.friend()
    await peer.ask("capture", client="198.51.100.7")
    assert engine.capturing is not None
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert engine.capturing.statistics().open_receive_channels == 0
    assert caplog.text == ""


@pytest.mark.trio
@pytest.mark.parametrize("limit", [{"seconds": 0}, {"seconds": 90_000}, {"messages": 0}, {"messages": 10**7}])
async def test_a_capture_without_a_sensible_limit_is_refused(
    door: Door, engine: FakeEngine, limit: dict[str, int]
) -> None:
    peer = await door.friend()
    answer = await peer.ask("capture", client="198.51.100.7", **limit)
    assert answer["error"]["code"] == protocol.INVALID_PARAMS
    assert engine.changes == []


@pytest.mark.trio
async def test_a_subscription_ends_with_its_connection(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    await peer.ask("subscribe")
    assert engine.subscribers == 1
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert engine.subscribers == 0


@pytest.mark.trio
async def test_a_subscriber_that_falls_behind_is_disconnected(
    door: Door, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await door.friend()
    await peer.ask("subscribe")
    for _ in range(200):
        engine.publish(EVENTS[0])
    received = 0
    while await peer.receive():
        received += 1
    assert 0 < received < 200
    assert "fell too far behind" in caplog.text


@pytest.mark.trio
async def test_a_client_that_closed_its_sending_side_still_gets_its_answers(door: Door) -> None:
    peer = await door.stranger()
    await peer.send("hello", 1, protocol=protocol.PROTOCOL)
    await peer.send("status", 2)
    await peer.stream.send_eof()
    answers = [await peer.receive(), await peer.receive(), await peer.receive()]
    assert [answer and answer["id"] for answer in answers] == [1, 2, None]


@pytest.mark.trio
async def test_a_change_is_carried_to_its_end_when_its_client_hangs_up(door: Door, engine: FakeEngine) -> None:
    peer = await door.friend()
    engine.gate = trio.Event()
    await peer.send("set_server", service="always-on-vpn", server="rras-2", state="drain")
    await wait_all_tasks_blocked()
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    engine.gate.set()
    await wait_all_tasks_blocked()
    assert [change[0] for change in engine.changes] == ["set_server"]


@pytest.mark.trio
async def test_a_client_that_disappears_mid_answer_leaves_no_trace_in_the_log(
    door: Door, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    peer = await door.friend()
    engine.gate = trio.Event()
    await peer.send("sessions")
    await wait_all_tasks_blocked()
    await peer.stream.aclose()
    engine.gate.set()
    await wait_all_tasks_blocked()
    assert "result" in await (await door.friend()).ask("status")
    assert caplog.text == ""
