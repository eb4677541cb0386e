"""The capture place: a client's messages as they pass, and what can be done with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from captured_messages import CAPTURED, FRAGMENT, INIT, captured
from console_pictures import LOOKS, console, look, picture, settle
from fake_link import FakeLink
from scapy.layers.inet import UDP
from scapy.utils import rdpcap
from served_engine import ServedEngine
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from engine.control.api import Refused
from engine.control.calls import Capture as CaptureCall
from engine.control.captured import Captured
from ikeconsole.app import ConsoleApp
from ikeconsole.client import EngineUnreachable
from ikeconsole.link import SocketLink
from ikeconsole.screens import capture as place
from ikeconsole.screens.capture import Capture


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come about")


async def opened(pilot: Pilot[Any], *keys: str) -> Capture:
    await look(pilot)
    assert isinstance(pilot.app, ConsoleApp)
    pilot.app.paused = False
    await press(pilot, *(keys or ("2", "enter", "o")))
    assert isinstance(pilot.app.screen, Capture)
    return pilot.app.screen


async def passing(pilot: Pilot[Any], *numbers: int, **last: Any) -> None:
    """Let messages of these numbers pass."""
    link = pilot.app.link  # type: ignore[attr-defined]
    messages = [captured(number, FRAGMENT, port="nat-t") for number in numbers]
    link.passing.put_nowait(Captured(messages=messages, seen=max(numbers, default=0), **last))
    await settle(pilot)


def lines(shown: Capture) -> str:
    """What the screen shows, with single spaces."""
    return "\n".join(" ".join(strip.text.split()) for strip in shown._compositor.render_strips())


def numbers(shown: Capture) -> list[int]:
    return [row.message.number for row in shown._grid._rows]


@pytest.mark.asyncio
@pytest.mark.parametrize("keys", [("2", "o"), ("2", "enter", "o")], ids=["list", "page"])
async def test_a_sessions_client_is_captured_until_the_place_is_left(keys: tuple[str, ...]) -> None:
    link = FakeLink()
    async with console(link).run_test(size=(80, 24)) as pilot:
        await opened(pilot, *keys)
        assert link.capturing == ["198.51.100.7"]
        await press(pilot, "escape")
        assert not isinstance(pilot.app.screen, Capture)
        assert link.capturing == []


@pytest.mark.asyncio
async def test_it_can_be_typed_with_a_prefix() -> None:
    link = FakeLink()
    async with console(link).run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "colon", *"capture", "space", *"198.51.100.0", "slash", *"24")
        offered = pilot.app.screen.query_one(CommandList)
        await until(pilot, lambda: any("198.51.100.0/24" in str(option.prompt) for option in offered.options))
        await press(pilot, "enter")
        await until(pilot, lambda: link.capturing == ["198.51.100.0/24"])


@pytest.mark.asyncio
async def test_each_message_is_a_line_and_the_newest_is_in_sight_in_full() -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        shown = lines(await opened(pilot))
    for part in (
        "7 messages, 2 lost 198.51.100.7 following",
        "12:04:31.214 → IKE_SA_INIT request 0 288 ▲ dropped: no-server",
        "12:04:31.234 ← IKE_SA_INIT answer 0 208 SA(aes256gcm16",
        "12:04:31.244 → IKE_AUTH request 1 140 SKF encrypted, fragment 2 of 5",
        "12:04:31.274 ← IKE_SA_INIT answer 0 36 ▲ 2 messages lost before",
        "12:04:31.294 → 198.51.100.7:61022 nat-t rras-1 not IKE 5 bytes ▲ dropped:",
    ):
        assert part in shown


@pytest.mark.asyncio
async def test_new_messages_appear_by_themselves_and_going_up_stands_still() -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        shown = await opened(pilot)
        await passing(pilot, *range(10, 40))
        assert numbers(shown)[-1] == 39
        assert shown._grid.cursor == shown._grid.total - 1
        await press(pilot, "up")
        assert "not following" in lines(shown)
        reading = shown._grid.selected
        await passing(pilot, 40, 41)
        assert numbers(shown)[-1] == 41
        assert shown._grid.selected == reading
        await press(pilot, "f")
        selected = shown._grid.selected
        assert selected is not None
        assert selected.message.number == 41


@pytest.mark.asyncio
async def test_while_the_console_is_paused_messages_are_kept_but_not_shown() -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        shown = await opened(pilot)
        await press(pilot, "space")
        await passing(pilot, 10)
        assert shown._grid.total == len(CAPTURED.messages)
        await press(pilot, "space")
        await look(pilot)
        assert numbers(shown)[-1] == 10


@pytest.mark.asyncio
async def test_enter_shows_everything_that_is_known_of_a_message() -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "up", "up", "enter")
        said = "\n".join(str(line.content) for line in pilot.app.screen.query(".dialog-line"))  # type: ignore[attr-defined]
    assert "client 198.51.100.7:500 ← service 203.0.113.10:500 (always-on-vpn, ike)" in said
    assert "source 10.0.9.1:40001 ← real server 10.0.0.11:500 (rras-1)" in said
    assert "SPIs 4f2a91c0aa01d3e7 / 91b2c00d77aa0e51, flags R" in said


@pytest.mark.asyncio
async def test_the_end_is_said_with_its_reason() -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        shown = await opened(pilot)
        await passing(pilot, 10, ended="1 h is over: its limit")
        assert "8 messages, 2 lost 198.51.100.7 ▲ ended: 1 h is over: its limit" in lines(shown)
        assert pilot.app.link.capturing == []  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_too_much_to_hold_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "KEPT_BYTES", 1_000)
    link = FakeLink()
    async with console(link).run_test(size=(80, 24)) as pilot:
        shown = await opened(pilot)
        await passing(pilot, *range(10, 12))
        assert "▲ ended:" in lines(shown)
        assert link.capturing == []


@pytest.mark.asyncio
async def test_a_refusal_stands_where_messages_would() -> None:
    link = FakeLink()
    link.api.failure = None
    async with console(link).run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "2")
        link.api.failure = Refused("failed", "4 captures run already, of 192.0.2.1/32: end one of them first")
        await press(pilot, "o")
        assert isinstance(pilot.app.screen, Capture)
        assert "▲ 4 captures run already, of 192.0.2.1/32" in lines(pilot.app.screen)
        assert "w export" not in lines(pilot.app.screen)


@pytest.mark.asyncio
async def test_it_is_not_offered_without_the_right_to_change_but_in_a_read_only_console_it_is() -> None:
    async with console(FakeLink(may_change=False)).run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "2", "o")
        assert not isinstance(pilot.app.screen, Capture)
    async with console(read_only=True).run_test(size=(80, 24)) as pilot:
        await opened(pilot, "2", "o")


@pytest.mark.asyncio
async def test_what_was_captured_is_written_and_nothing_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_text("precious")
    async with console().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "w")
        pilot.app.screen.query_one(Input).value = str(path.with_suffix(".txt"))
        await press(pilot, "enter")
        assert "end the name in .pcap" in str(pilot.app.screen.query_one(".dialog-problem").content)  # type: ignore[attr-defined]
        pilot.app.screen.query_one(Input).value = str(path)
        await press(pilot, "enter", "enter")
        assert isinstance(pilot.app.screen, Capture)
        assert path.read_text() == "precious"
        await press(pilot, "w")
        pilot.app.screen.query_one(Input).value = str(path)
        await press(pilot, "enter", "right", "enter")
        await until(pilot, lambda: not path.read_bytes().startswith(b"precious"))
    packets = rdpcap(str(path))
    assert len(packets) == len(CAPTURED.messages)
    assert bytes(packets[1][UDP].payload) == INIT


@pytest.fixture
def link(engine: ServedEngine) -> Iterator[SocketLink]:
    line = SocketLink(engine.socket)
    yield line
    line.close()


async def first(link: SocketLink) -> tuple[Captured, Callable[[], Any]]:
    """The first piece of a capture that is still running, and what closes it."""
    pieces = link.capture(CaptureCall(client="198.51.100.7"))
    return await anext(pieces), pieces.aclose


@pytest.mark.asyncio
async def test_over_the_socket_a_capture_ends_when_it_is_closed(engine: ServedEngine, link: SocketLink) -> None:
    piece, close = await first(link)
    assert piece == CAPTURED
    assert engine.api.capturing is not None
    await close()
    for _ in range(200):
        if not engine.api.capturing.statistics().open_receive_channels:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the engine still captures")


@pytest.mark.asyncio
async def test_over_the_socket_refusals_and_a_lost_engine_are_told(engine: ServedEngine, link: SocketLink) -> None:
    engine.api.failure = Refused("failed", "no")
    with pytest.raises(Refused, match="no"):
        await first(link)
    engine.api.failure = None
    async with aclosing(link.capture(CaptureCall(client="198.51.100.7"))) as pieces:
        assert await anext(pieces) == CAPTURED
        engine.stop()
        with pytest.raises(EngineUnreachable, match="lost the engine"):
            await anext(pieces)
    with pytest.raises(EngineUnreachable, match="no engine answers"):
        await first(link)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["2", "o", "up", "up"], then=look)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_nothing_yet(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    link = FakeLink()
    link.api.captured = []
    assert picture(snap_compare, monkeypatch, size, theme, ["2", "o"], link=link, then=look)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_an_ended_one(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    link = FakeLink()
    link.api.captured = [CAPTURED, Captured(seen=12, ended="1 h is over: its limit")]
    assert picture(snap_compare, monkeypatch, size, theme, ["2", "o"], link=link, then=look)
