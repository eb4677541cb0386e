"""The page of one session: everything that is known of it, also after its end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import DETAIL, EXPLANATION, NOW, ROWS, FakeEngine
from fake_link import FakeLink
from textual.pilot import Pilot

from engine.control.api import Refused
from engine.control.records import Event, Explanation, MessageRow, SessionDetail, TroubleRow
from engine.sessions.session import Phase
from ikeconsole.render.sessions import phase_words
from ikeconsole.screens.session import Session

MESSAGES = [
    MessageRow(
        at=NOW - 60 + number,
        direction="out" if number % 2 else "in",
        exchange="IKE_AUTH",
        message_id=number // 2,
        response=bool(number % 2),
        size_bytes=1000 + number,
    )
    for number in range(12)
]
SUCCESSOR = msgspec.structs.replace(ROWS[1], id=9, client="198.51.100.7:62000", server="rras-1", age_s=12.0)


class Living(FakeEngine):
    """Its session can end, and its client come back."""

    def __init__(self) -> None:
        super().__init__()
        self.detail: SessionDetail | None = msgspec.structs.replace(DETAIL, messages=MESSAGES)
        self.told: list[Event] = []

    def session(self, number: int) -> SessionDetail:
        if self.detail is None:
            raise Refused("not-found", f"there is no session {number} any more")
        return self.detail

    def explain(self, client: str) -> list[Explanation]:
        assert client == "198.51.100.7"
        successor = msgspec.structs.replace(DETAIL, row=SUCCESSOR)
        return [msgspec.structs.replace(EXPLANATION, sessions=[self.detail] if self.detail else [successor])]

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        return self.told

    def end(self) -> None:
        self.detail = None
        texts = {
            "session-ended": "198.51.100.7:4500 on rras-2 ended after 2 h 14 m: deleted",
            "session-established": "198.51.100.7:62000 on rras-1 was set up in 80 ms",
            "server-state": "rras-2 set to drain",
        }
        self.told = [
            Event(number=n, at=NOW, severity="info", kind=kind, text=text, server="rras-2", client="198.51.100.7")
            for n, (kind, text) in enumerate(texts.items())
        ]


async def opened(pilot: Pilot[Any]) -> Session:
    await look(pilot)
    for key in ("2", "enter"):
        await pilot.press(key)
        await settle(pilot)
    assert isinstance(pilot.app.screen, Session)
    return pilot.app.screen


def lines(place: Session) -> str:
    """What the screen shows, with single spaces."""
    compositor = place._compositor
    return "\n".join(" ".join(strip.text.split()) for strip in compositor.render_strips())


@pytest.mark.asyncio
async def test_it_says_why_what_and_where_next() -> None:
    api = Living()
    async with console(FakeLink(api)).run_test(size=(80, 40)) as pilot:
        shown = lines(await opened(pilot))
    for part in (
        "198.51.100.7:4500 → rras-2 always-on-vpn established 2h14m",
        "why least, since 09:50:17",
        "now a new session would go to rras-1: rras-2 drains",
        "phase established: the tunnel is up",
        "client Windows 8+ (MS NT5 ISAKMPOAKLEY v9)",
        "setup took 84ms, the client sent 2 messages again",
        "persist 198.51.100.7/32 → rras-2, 28m left",
        "SPIs 4f2a91c0aa01d3e7 / 91b2c00d77aa0e51",
        "data in 1.2MB (-) out 4.0MB (-) fast path idle 1s",
        "flows ike 198.51.100.7:500 slow idle 41m 900B in 800B out",
        "nat-t 198.51.100.7:4500 fast idle 1s 1.2MB in 4.0MB out",
        "12:03:31 → IKE_AUTH request 0 1000 bytes",
        "12:03:42 ← IKE_AUTH answer 5 1011 bytes",
    ):
        assert part in shown
    assert "behind NAT" not in shown


@pytest.mark.asyncio
async def test_each_look_is_drawn_with_the_rate_since_the_last() -> None:
    api = Living()
    async with console(FakeLink(api)).run_test(size=(80, 40)) as pilot:
        place = await opened(pilot)
        assert api.detail is not None
        row = api.detail.row
        traffic = msgspec.structs.replace(row.traffic, bytes_in=row.traffic.bytes_in + 500_000)
        row = msgspec.structs.replace(row, age_s=row.age_s + 2, traffic=traffic, phase="IDLE")
        api.detail = msgspec.structs.replace(api.detail, row=row)
        await look(pilot)
        assert "idle 2h14m" in lines(place)
        assert "(2.0Mb/s) out 4.0MB (0b/s)" in lines(place)


@pytest.mark.asyncio
async def test_a_port_that_no_client_sends_from_shows_a_nat_and_snat_shows_the_address_used() -> None:
    api = Living()
    assert api.detail is not None
    ike, nat_t = api.detail.flows
    nat_t = msgspec.structs.replace(nat_t, client="198.51.100.7:61022", source="10.0.9.1:30001")
    api.detail = msgspec.structs.replace(api.detail, flows=[ike, nat_t], persistence=None)
    async with console(FakeLink(api)).run_test(size=(80, 40)) as pilot:
        shown = lines(await opened(pilot))
    assert "behind NAT" in shown
    assert "seen as 10.0.9.1:30001 for nat-t" in shown
    assert "no record: a new session is scheduled" in shown


@pytest.mark.asyncio
async def test_what_went_wrong_is_said_with_who_said_so_and_what_came_again() -> None:
    api = Living()
    assert api.detail is not None
    refused = TroubleRow(at=NOW - 4, direction="out", name="NO_PROPOSAL_CHOSEN", meaning="it accepts none of them")
    api.detail = msgspec.structs.replace(
        api.detail,
        row=msgspec.structs.replace(api.detail.row, phase="INIT"),
        handshake_s=None,
        retransmitted_out=1,
        trouble=refused,
        messages=[MESSAGES[0], msgspec.structs.replace(MESSAGES[0], repeated=True)],
    )
    async with console(FakeLink(api)).run_test(size=(80, 40)) as pilot:
        shown = " ".join(lines(await opened(pilot)).split())
    assert "error 12:04:27 NO_PROPOSAL_CHOSEN from rras-2: it accepts none of them" in shown
    assert "setup not over, the client sent 2 messages again and rras-2 sent 1 message again" in shown
    assert shown.count("request 0 1000 bytes") == 2
    assert shown.count("1000 bytes again") == 1


@pytest.mark.parametrize(
    ("phase", "spi_i", "words"),
    [
        ("IDLE", "aa", "idle: silent for so long that its flows ended; its SPIs still lead it back here"),
        ("MOVED", "aa", "moved: the tunnel is up; the client goes on from another address or port"),
        ("INIT", "", "init: no IKE message of it was seen; rras-2 has not shown that it knows its tunnel"),
        ("LATER", "aa", "later"),
    ],
)
def test_a_phase_is_said_with_what_it_means(phase: str, spi_i: str, words: str) -> None:
    row = msgspec.structs.replace(ROWS[0], phase=phase, spi_i=spi_i)
    assert phase_words(row) == words
    assert all(phase_words(msgspec.structs.replace(row, phase=known, spi_i="a")) != known for known in Phase)


@pytest.mark.asyncio
async def test_the_end_of_a_session_is_said_with_its_reason_and_what_was_last_known() -> None:
    api = Living()
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 40)) as pilot:
        place = await opened(pilot)
        api.end()
        await look(pilot)
        shown = lines(place)
        assert "This session has ended." in shown
        assert "ended after 2 h 14 m: deleted" in shown
        assert "198.51.100.7:62000 → rras-1 moved 12s old" in shown
        assert "SPIs 4f2a91c0aa01d3e7 / 91b2c00d77aa0e51" in shown
        assert app.lost is None
        await pilot.press("c", "m", "p")
        assert app.screen is place
        assert api.changes == []


@pytest.mark.asyncio
async def test_a_session_that_was_gone_before_it_was_opened_is_no_error() -> None:
    api = Living()
    api.end()
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await app.push_screen(Session(77))
        await look(pilot)
        assert isinstance(app.screen, Session)
        assert "session 77" in lines(app.screen)
        assert "Nothing else is known of it." in " ".join(lines(app.screen).split())


@pytest.mark.asyncio
async def test_keys_scroll_it_and_escape_leaves() -> None:
    app = console(FakeLink(Living()))
    async with app.run_test(size=(80, 24)) as pilot:
        place = await opened(pilot)
        assert "answer 5" not in lines(place)
        await pilot.press("end")
        await pilot.pause()
        assert "answer 5" in lines(place)
        await pilot.press("escape")
        assert app.crumbs == ["sessions"]


@pytest.mark.asyncio
async def test_changes_are_those_of_the_list() -> None:
    api = Living()
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for key in ("p", "y", "m", "enter", "y", "c", "right", "enter"):
            await pilot.press(key)
            await settle(pilot)
    assert [change[0] for change in api.changes] == ["pin", "move", "clear"]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_the_page(
    snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["2", "enter"], link=FakeLink(Living()))


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_an_ended_session(
    snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    api = Living()

    async def end(pilot: Pilot[Any]) -> None:
        api.end()
        await look(pilot)

    assert picture(snap_compare, monkeypatch, size, theme, ["2", "enter"], link=FakeLink(api), then=end)
