"""The client over a real socket: typed records, typed failures, and events without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import trio
from fake_engine import EVENTS, EXPLANATION, STATUS, FakeEngine
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.control import protocol
from engine.control.api import Refused
from engine.control.records import Event, SessionQuery
from engine.control.server import MAX_CONNECTIONS, serve
from ikeconsole import client as client_module
from ikeconsole.client import EngineUnreachable, connect


@pytest.fixture
def api() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def socket(tmp_path: Path, api: FakeEngine, nursery: trio.Nursery) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    await nursery.start(serve, api, path)
    yield path
    nursery.cancel_scope.cancel()


def event(number: int) -> Event:
    return msgspec.structs.replace(EVENTS[0], number=number)


@pytest.mark.trio
async def test_calls_return_the_engines_records(socket: Path, api: FakeEngine) -> None:
    async with connect(socket) as client:
        assert client.hello.may_change
        assert await client.status() == STATUS
        assert (await client.sessions(SessionQuery(limit=1))).rows[0].id == 1
        assert (await client.session(1)).vendor.startswith("Windows")
        assert await client.explain("198.51.100.7") == [EXPLANATION]
        assert await client.events(after=2) == EVENTS[2:]
        assert (await client.config()).on_disk_differs
        assert (await client.history())[0].number == 7
        await client.set_server("always-on-vpn", "rras-1", weight=5)
        await client.clear("a")
        await client.move("a", "b")
        await client.reload()
        await client.undo()
    assert [change[0] for change in api.changes] == ["set_server", "clear", "move", "reload", "undo"]


@pytest.mark.trio
async def test_a_refusal_arrives_as_it_left_and_the_connection_goes_on(socket: Path) -> None:
    async with connect(socket) as client:
        with pytest.raises(Refused) as caught:
            await client.set_server("no", "such", state="drain")
        assert (caught.value.kind, caught.value.details) == ("not-found", ["known: always-on-vpn/rras-1"])
        assert await client.status() == STATUS


@pytest.mark.trio
async def test_calls_from_several_tasks_do_not_mix(socket: Path) -> None:
    async with connect(socket) as client, trio.open_nursery() as nursery:

        async def ask(after: int) -> None:
            assert await client.events(after=after) == EVENTS[after:]

        for after in [0, 1, 2] * 5:
            nursery.start_soon(ask, after)


@pytest.mark.trio
async def test_the_answer_to_a_cancelled_call_is_not_taken_for_the_next(socket: Path, api: FakeEngine) -> None:
    async with connect(socket) as client:
        api.gate = trio.Event()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.sessions, SessionQuery())
                await wait_all_tasks_blocked()
                scope.cancel()
        api.gate.set()
        assert await client.status() == STATUS


@pytest.mark.trio
async def test_following_gives_the_past_then_the_new_each_once(socket: Path, api: FakeEngine) -> None:
    async with connect(socket) as client, aclosing(client.follow(limit=2)) as following:
        numbers = [(await anext(following)).number, (await anext(following)).number]
        for number in (3, 4, 5):  # 3 is told already
            api.publish(event(number))
        numbers += [(await anext(following)).number, (await anext(following)).number]
    assert numbers == [2, 3, 4, 5]


@pytest.mark.trio
async def test_a_follower_that_is_cut_off_is_told(socket: Path, api: FakeEngine) -> None:
    async with connect(socket) as client, aclosing(client.follow()) as following:
        for _ in EVENTS:
            await anext(following)
        for number in range(10, 300):
            api.publish(event(number))
        with pytest.raises(EngineUnreachable, match="closed the connection"):
            async for _ in following:
                pass


@pytest.mark.trio
async def test_no_socket_says_how_to_start_an_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match="ikeconsole engine"):
        async with connect(tmp_path / "none.sock"):
            pass


@pytest.mark.trio
async def test_a_socket_one_may_not_open_is_denied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trio, "open_unix_socket", refuse)
    with pytest.raises(Refused) as caught:
        async with connect(tmp_path / "control.sock"):
            pass
    assert caught.value.kind == "denied"


@pytest.mark.trio
async def test_another_protocol_version_is_reported_as_such(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(**{**vars(protocol), "PROTOCOL": protocol.PROTOCOL - 1})
    monkeypatch.setattr(client_module, "protocol", older)
    with pytest.raises(EngineUnreachable, match="upgrade the client"):
        async with connect(socket):
            pass


@pytest.mark.trio
async def test_a_full_engine_says_so(socket: Path) -> None:
    streams = [await trio.open_unix_socket(socket) for _ in range(MAX_CONNECTIONS)]
    await wait_all_tasks_blocked()
    with pytest.raises(EngineUnreachable, match="close some and try again"):
        async with connect(socket):
            pass
    for stream in streams:
        await stream.aclose()


@pytest.mark.trio
async def test_an_engine_that_hangs_is_given_up(tmp_path: Path, mock_clock: MockClock) -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    path = tmp_path / "control.sock"
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, [trio.SocketListener(listener)])

        async def attempt() -> None:
            with pytest.raises(EngineUnreachable, match="does not answer"):
                async with connect(path):
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(attempt)
        await wait_all_tasks_blocked()
        mock_clock.jump(client_module.CONNECT_TIMEOUT_S + 1)
    listener.close()


@pytest.mark.trio
@pytest.mark.parametrize("answer", [b"hello yourself\n", b'{"id":1,"result":{"protocol":"x"}}\n', b'{"id":1}\n', b""])
async def test_something_else_on_the_socket_is_no_engine(tmp_path: Path, answer: bytes) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    path = tmp_path / "control.sock"
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, speak, [trio.SocketListener(listener)])
        with pytest.raises(EngineUnreachable, match="lost the engine"):
            async with connect(path):
                pass
        nursery.cancel_scope.cancel()
    listener.close()


@pytest.mark.trio
async def test_an_engine_of_an_earlier_version_is_to_be_restarted(
    socket: Path, api: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade, when the engine that runs is the one from before."""

    class Answer(msgspec.Struct):
        only: str = "what there was then"

    async with connect(socket) as client:
        monkeypatch.setattr(api, "status", Answer)
        with pytest.raises(EngineUnreachable, match="if it was started before an upgrade, restart it"):
            await client.status()
