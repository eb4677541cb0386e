"""Whatever others say (peers, servers, users, files), the operator's terminal only shows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from console_pictures import WIDE, console, look, settle
from hypothesis import given
from hypothesis import strategies as st
from served_engine import ServedEngine

from engine.control import server
from engine.control.api import EngineApi, Refused
from engine.control.calls import Call, GetSettings
from engine.control.captured import Captured, CapturedMessage
from engine.control.perform import perform
from engine.wire.build import build_message, notify_payload, vendor_payload
from engine.wire.notifies import NotifyType
from ikeconsole.app import ConsoleApp
from ikeconsole.capture_reader import CaptureReader
from ikeconsole.commands.output import print_json
from ikeconsole.disarmed import disarmed
from ikeconsole.exits import Exit
from ikeconsole.link import SocketLink
from ikeconsole.main import main
from ikeconsole.render.capture import captured_line

POISON = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202e\r\b"
"""Clear the screen, set the title, the same begun in one byte, delete, write from right to left, go back."""

KEYS = ["down down", "2 enter", "3 enter", "3 d", "4", "5", "a", "A", "h enter", "i"]
"""What leads to each place and dialog, and to what it says."""


def harmful(text: str) -> list[str]:
    """The lines that a terminal would do more with than show them."""
    return [line for line in text.split("\n") if not line.isprintable()]


def spoilt(value: Any) -> Any:
    """A record's builtins with the poison behind every text."""
    match value:
        case str():
            return value + POISON
        case list():
            return [spoilt(one) for one in value]
        case dict():
            return {key: spoilt(one) for key, one in value.items()}
        case _:
            return value


@pytest.fixture
def poisoned(engine: ServedEngine, monkeypatch: pytest.MonkeyPatch) -> ServedEngine:
    """An engine whose every word carries what peers and files might have put there."""

    async def perform_and_spoil(api: EngineApi, call: Call[Any], author: str, *, unrestricted: bool) -> object:
        try:
            answer = await perform(api, call, author, unrestricted=unrestricted)
            # Of a configuration nothing gets past its validation that cannot be shown.
            return answer if isinstance(call, GetSettings) else spoilt(msgspec.to_builtins(answer))
        except Refused as refused:
            raise Refused(refused.kind, refused.message + POISON, [POISON, *refused.details]) from None

    monkeypatch.setattr(server, "perform", perform_and_spoil)
    return engine


@pytest.fixture
def link(poisoned: ServedEngine) -> Iterator[SocketLink]:
    link = SocketLink(poisoned.socket)
    yield link
    link.close()


def shown(app: ConsoleApp) -> str:
    """Everything on the screen."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.asyncio
@pytest.mark.parametrize("keys", KEYS)
async def test_nothing_in_the_console_is_obeyed(link: SocketLink, keys: str) -> None:
    app = console(link)  # type: ignore[arg-type]
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot)
        for key in keys.split():
            await pilot.press(key)
            await settle(pilot)
        await asyncio.sleep(0.05)
        await settle(pilot)
        assert harmful(shown(app)) == []
        assert "\N{REPLACEMENT CHARACTER}" in shown(app)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["services"],
        ["servers"],
        ["servers", "--names"],
        ["sessions"],
        ["events"],
        ["advise"],
        ["explain", "198.51.100.7"],
        ["pins"],
        ["config", "show"],
        ["config", "diff"],
        ["config", "history"],
        ["config", "history", "--diff"],
        ["config", "undo"],
        ["reload"],
        ["drain", "always-on-vpn/rras-2"],
        ["probe", "always-on-vpn/rras-1"],
        ["clear", "198.51.100.7"],
        ["status", "--json"],
        ["events", "--json"],
        ["config", "history", "--json"],
    ],
)
def test_nothing_that_a_command_prints_is_obeyed(
    poisoned: ServedEngine, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([*arguments, "--socket", str(poisoned.socket)]) == Exit.OK
    printed = capsys.readouterr()
    assert harmful(printed.out + printed.err) == []
    assert "owned" in printed.out


def test_nothing_in_a_refusal_is_obeyed(poisoned: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    poisoned.api.failure = Refused("conflict", "changed", ["+++ on disk"])
    assert main(["reload", "--socket", str(poisoned.socket)]) == Exit.FAILED
    printed = capsys.readouterr()
    assert harmful(printed.out + printed.err) == []
    assert "owned" in printed.err


@pytest.mark.parametrize(
    "text", [f"[[service]]\nname = {POISON}\n", f'"{POISON!r}" = 1\n'.replace("'", ""), f"# {POISON}"]
)
def test_nothing_in_a_file_that_is_complained_of_is_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / f"bad{POISON}.toml"
    file.write_text(text)
    assert main(["check", "-c", str(file)]) == Exit.BAD_CONFIG
    printed = capsys.readouterr()
    assert harmful(printed.out + printed.err) == []


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_disarmed_says_the_same_in_the_same_shape(value: Any) -> None:
    """Line feeds and tabs are a text's own; everything else that cannot be shown is replaced, one for one."""

    def expected(value: Any) -> Any:
        match value:
            case str():
                kept = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value)
                return "".join(kept)
            case list():
                return [expected(one) for one in value]
            case dict():
                return {expected(key): expected(one) for key, one in value.items()}
            case _:
                return value

    assert json.loads(disarmed(msgspec.json.encode(value))) == expected(value)


@given(st.binary())
def test_what_is_no_json_is_disarmed_without_a_word(line: bytes) -> None:
    disarmed(line)


@given(
    st.sampled_from([kind.value for kind in NotifyType]),
    st.binary(max_size=40),
    st.sampled_from([b"", b"OE-Libreswan-", b"CISCO"]),
)
def test_nothing_that_a_captured_message_says_is_obeyed(kind: int, said: bytes, vendor: bytes) -> None:
    """Its bytes are decoded where they are shown."""
    poison = POISON.encode() + said + POISON.encode("latin-1", "ignore")
    gateway = bytes([3, len(poison) & 0xFF]) + poison  # REDIRECT names a host (RFC 5685)
    payloads = [notify_payload(kind, gateway), notify_payload(kind, poison), vendor_payload(vendor + poison)]
    message = CapturedMessage(
        number=1,
        at=0.0,
        direction="in",
        port="ike",
        service="vpn",
        client="198.51.100.7:500",
        vip="203.0.113.10:500",
        data=build_message(payloads, spi_i=1),
    )
    (read,) = CaptureReader().take(Captured(messages=[message]))
    assert harmful(captured_line(read).plain) == []


def test_json_of_what_was_captured_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"said": POISON})
    assert harmful(capsys.readouterr().out) == []
