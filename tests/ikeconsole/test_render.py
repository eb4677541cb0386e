"""Each table as an operator sees it on 80 columns, and what must hold at any width."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from textwrap import dedent

import msgspec
import pytest
from fake_engine import (
    EVENTS,
    EXPLANATION,
    PIN,
    REVISION,
    ROWS,
    RRAS_1,
    RRAS_2,
    RRAS_3,
    SSWAN_1,
    STATUS,
)
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from engine.control.records import SessionPage
from engine.control.status import Alarm, ChallengeStatus, SourceUse
from ikeconsole.render.columns import Column, printable, table
from ikeconsole.render.events import event_line
from ikeconsole.render.explanation import explained
from ikeconsole.render.facts import service_facts
from ikeconsole.render.history import history
from ikeconsole.render.numbers import rate
from ikeconsole.render.pins import pins
from ikeconsole.render.servers import servers
from ikeconsole.render.services import services
from ikeconsole.render.sessions import sessions
from ikeconsole.render.states import server_state
from ikeconsole.render.status import status

PAGE = SessionPage(total=1292, matched=601, offset=100, rows=ROWS)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(page: RenderableType, width: int = 80, *, soft_wrap: bool = False) -> str:
    """The page as plain text, without spaces at line ends."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False).print(page, soft_wrap=soft_wrap)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def expected(text: str) -> str:
    return dedent(text).strip("\n")


def test_status_on_80_columns() -> None:
    assert drawn(status(STATUS, 80)) == expected(
        """
        vpn-edge-1  1 292 sessions, 3 half-open  up 9d1h  ikeconsole 0.1.0 pid 4711
        ▲ always-on-vpn/rras-3 is down: no answer to IKE probe, ping answers; its
          clients go to other servers (2m14s)
          → see that its IKE service runs and that UDP 500 from this machine reaches
            10.0.0.13; `ikeconsole disable always-on-vpn/rras-3` if it is to stay away
        ▲ partners/sswan-1: 80 sessions come from the one address 10.0.9.1: the server
          may refuse further clients (error 809) (2h01m)
          → add snat_addresses, or use source = "transparent"; else raise the limit on
            the server: Windows IkeNumEstablishedForInitialQuery (then restart IKEEXT),
            strongSwan cookie_threshold and block_threshold

        SERVICE / SERVER STATE       SESS HALF NEW/s IN b/s OUT b/s SHARE
        always-on-vpn    ▲ degraded  1204    3   2.1   412M    1.1G
        · rras-1         ● up         603    1   2.1   210M    560M  50% █████|
        · rras-2         ◐ drain      601    2     0   202M    540M  50% █████|
        · rras-3         ○ down         0    0     0      0       0   0%
        partners         ● up          88    0   0.1    12M     30M
        · sswan-1        ● up          88    0   0.1    12M     30M 100% █████████|

        fast path off: libbpf.so.1 was not found
        table 0.6 %   sockets 2.2 %   flows 2 580   memory 71MB
        dropped by always-on-vpn: no-server 12, malformed 3
        """
    )


def test_services_on_80_columns() -> None:
    assert drawn(services(STATUS.services, 80)) == expected(
        """
        SERVICE       ADDRESS       STATE       SESS   IN  OUT SCHED PERSISTENCE
        always-on-vpn 203.0.113.10  ▲ degraded  1204 412M 1.1G wlc   source-address 30m
        partners      2001:db8::500 ● up          88  12M  30M rr    ike-spi 30m
        """
    )


def test_servers_on_80_columns() -> None:
    assert drawn(servers([RRAS_1, RRAS_2, RRAS_3, SSWAN_1], 80, STATUS.now_at)) == expected(
        """
        SERVICE/SERVER       STATE      WGT  SESS   RTT HEALTH
        always-on-vpn/rras-1 ● up       100   603 3.2ms 2h14m: answers IKE
        always-on-vpn/rras-2 ◐ drain    100   601  17ms 2h14m: answers IKE
        always-on-vpn/rras-3 ○ down     100     0     - 2m14s: no answer to IKE probe, …
        partners/sswan-1     ● up       100    88 3.2ms 2h14m: answers IKE
        partners/sswan-1 sessions by source address: 10.0.9.1 80, 10.0.9.2 8
        """
    )


def test_only_the_most_used_source_addresses_are_shown() -> None:
    use = [SourceUse(address=f"10.0.9.{n}", sessions=90 - n) for n in range(1, 8)]
    page = drawn(servers([msgspec.structs.replace(SSWAN_1, source_use=use)], 120, STATUS.now_at))
    assert "10.0.9.1 89, 10.0.9.2 88, 10.0.9.3 87, 10.0.9.4 86, 10.0.9.5 85 and 2 more" in " ".join(page.split())


def test_sessions_on_80_columns() -> None:
    assert drawn(sessions(PAGE, 80)) == expected(
        """
        CLIENT                    SERVER  PHASE          AGE  IDLE   IN  OUT PATH WHY
        198.51.100.7:4500         rras-2  established  2h14m    1s 1.2M 4.0M fast least
        198.51.100.7:61022        rras-2  moved          41m    3s 220k 900k fast spi
        [2001:db8:ffff:1234:5678… sswan-1 auth            2s    0s  980    0 slow source
        101 to 103 of 1 292 sessions, 601 matching; more with --offset 103
        """
    )


def test_history_on_80_columns() -> None:
    assert drawn(history([REVISION], 80, differences=True)) == expected(
        """
        REV  SAVED                BY     CHANGE
          7  2026-01-05 11:04:31  alice  rras-2 state enabled -> drain
        -a
        +b
        """
    )


def test_explanation() -> None:
    assert drawn(explained(EXPLANATION), soft_wrap=True) == expected(
        """
        198.51.100.7 at always-on-vpn
          next     a new session would go to rras-1: rras-2 drains; rras-1 is the only server that takes new sessions
          persist  198.51.100.7/32 → rras-2, 28m left
          198.51.100.7:4500 → rras-2  established 2h14m  session 1
            phase    established: the tunnel is up
            why      least
            client   Windows 8+ (MS NT5 ISAKMPOAKLEY v9)
            setup    took 84ms, the client sent 2 messages again
            SPIs     4f2a91c0aa01d3e7 / 91b2c00d77aa0e51
            flow     198.51.100.7:500 to ike, slow, idle 41m, 900B in 800B out
            flow     198.51.100.7:4500 to nat-t, fast, idle 1s, 1.2MB in 4.0MB out
            message  2026-01-05 09:50:17 → IKE_SA_INIT request 0, 432 bytes
            message  2026-01-05 09:50:17 ← IKE_SA_INIT response 0, 440 bytes
        """
    )


def test_events_take_one_line_each() -> None:
    lines = "\n".join(drawn(event_line(event), soft_wrap=True) for event in EVENTS)
    assert lines == expected(
        """
        2026-01-05 12:02:17 ▲ server-down      rras-3 down: no answer to IKE probe, ping answers
        2026-01-05 12:03:31 • server-state     rras-2 set to drain by alice
        2026-01-05 12:04:31   session-opened   198.51.100.7:4500 to rras-2: least connections
        """
    )


@pytest.mark.parametrize(
    ("admin_state", "health", "text"),
    [
        ("enabled", "up", "● up"),
        ("enabled", "down", "○ down"),
        ("enabled", "unknown", "· unknown"),
        ("drain", "up", "◐ drain"),
        ("drain", "down", "○ down"),
        ("disabled", "up", "✕ disabled"),
        ("disabled", "down", "✕ disabled"),
    ],
)
def test_a_state_reads_without_colour(admin_state: str, health: str, text: str) -> None:
    server = msgspec.structs.replace(RRAS_1, admin_state=admin_state, health=health)
    assert server_state(server).plain == text


def test_what_the_engine_finds_wrong_is_shown_with_what_to_do() -> None:
    alarm = Alarm(
        kind="config-changed",
        severity="warning",
        since_at=STATUS.now_at - 41,
        text="config.toml was changed\x1b[2J",
        remedy="`ikeconsole reload`",
        place="configuration",
    )
    page = drawn(status(msgspec.structs.replace(STATUS, alarms=[alarm]), 80))
    assert "▲ config.toml was changed\N{REPLACEMENT CHARACTER}[2J (41s)\n  → `ikeconsole reload`\n" in page
    assert page.count("→") == 1


def test_an_engine_without_alarms_shows_none() -> None:
    assert "→" not in drawn(status(msgspec.structs.replace(STATUS, alarms=[]), 80))


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0.0, "0"), (0.01, "<0.1"), (0.05, "0.1"), (2.12, "2.1"), (9.96, "10"), (1234.0, "1.2k")],
)
def test_a_rate_keeps_a_digit_where_it_is_small_and_never_hides_that_something_happens(
    per_second: float, text: str
) -> None:
    assert rate(per_second) == text


def test_empty_tables_say_what_to_do_or_what_was_asked() -> None:
    assert "add a [[service]]" in drawn(status(msgspec.structs.replace(STATUS, services=[]), 80))
    assert "add a [[service]]" in drawn(services([], 80))
    assert "add a [[service.real_server]]" in drawn(servers([], 80, 0.0))
    assert drawn(sessions(SessionPage(total=0, matched=0, offset=0, rows=[]), 80)) == "No session yet."
    nothing = SessionPage(total=1292, matched=0, offset=0, rows=[])
    assert drawn(sessions(nothing, 80)) == "No session matches, of 1 292."
    beyond = SessionPage(total=1292, matched=40, offset=100, rows=[])
    assert drawn(sessions(beyond, 80)) == "No session from 100 on: 40 match."
    assert "No revision yet" in drawn(history([], 80, differences=False))


@pytest.mark.parametrize("width", [80, 90, 100, 110, 120, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for page in (
        status(STATUS, width),
        services(STATUS.services, width),
        servers([RRAS_1, RRAS_2, RRAS_3, SSWAN_1], width, STATUS.now_at),
        sessions(PAGE, width),
    ):
        lines = drawn(page, 500).splitlines()
        assert max(cell_len(line) for line in lines) <= width


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=4), st.integers(20, 120))
def test_a_table_of_any_text_is_one_line_a_row_and_fits(rows: list[tuple[str, str]], width: int) -> None:
    columns: list[Column[tuple[str, str]]] = [
        Column("NAME", lambda row: row[0], flexible=True),
        Column("TEXT", lambda row: row[1], flexible=True),
    ]
    lines = drawn(table(columns, rows, width), 500).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)


@given(st.text())
def test_printable_text_cannot_command_a_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


def test_escape_sequences_in_names_do_not_reach_the_terminal() -> None:
    server = msgspec.structs.replace(RRAS_1, name="\x1b[2Jrras", health_reason="\x07ding")
    event = msgspec.structs.replace(EVENTS[0], text="\x1b]0;title\x07")
    page = drawn(servers([server], 200, STATUS.now_at)) + drawn(event_line(event))
    assert "\x1b" not in page
    assert "\x07" not in page


def test_what_gave_way_is_shown_with_what_to_do() -> None:
    page = drawn(status(msgspec.structs.replace(STATUS, evicted=7, sockets_taken_back=9), 80))
    assert "7 half-open or sleeping sessions gave way" in page
    assert "9 sockets taken back" in page
    assert "raise the file limit" in page


def test_idle_sessions_are_counted_apart_as_real_servers_do_not_count_them() -> None:
    page = drawn(status(msgspec.structs.replace(STATUS, idle=92), 80))
    assert "1 200 sessions, 3 half-open, 92 idle" in page


def test_a_pinned_client_is_marked() -> None:
    """In the list of sessions, in the explanation, and in the list of pins."""
    row = msgspec.structs.replace(ROWS[0], pinned=True)
    page = drawn(sessions(msgspec.structs.replace(PAGE, rows=[row]), 100), 100)
    assert page.splitlines()[1].endswith(" pinned")
    told = drawn(explained(msgspec.structs.replace(EXPLANATION, persistence=PIN)), 120)
    assert "persist  198.51.100.40/32 → rras-1, pinned" in told
    assert drawn(pins([PIN], 80)) == expected(
        """
        CLIENT            SERVICE/SERVER
        198.51.100.40/32  always-on-vpn/rras-1
        """
    )
    assert "ikeconsole pin ADDR SERVER" in drawn(pins([], 80))


def test_cookies_are_told_of_once_they_were_asked_for() -> None:
    """Also when that is over; and not where it never was."""
    asked = ChallengeStatus(mode="auto", active=True, sent=120_000, accepted=12, refused=3)
    service = msgspec.structs.replace(STATUS.services[0], challenge=asked)
    engine = msgspec.structs.replace(STATUS, services=[service])
    said = "cookies of always-on-vpn: demanded (auto), 120 000 sent, 12 accepted, 3 refused"
    assert said in drawn(status(engine, 80))
    assert "cookies" not in drawn(status(STATUS, 80))
    facts = {fact.label: fact.value for fact in service_facts(service)}
    assert facts["cookies"] == "demanded (auto), 120 000 sent, 12 accepted, 3 refused"
    over = msgspec.structs.replace(service, challenge=msgspec.structs.replace(asked, active=False))
    facts = {fact.label: fact.value for fact in service_facts(over)}
    assert facts["cookies"].startswith("not demanded now (auto), 120 000 sent")
    assert "cookies" not in {fact.label for fact in service_facts(STATUS.services[0])}


def test_violated_invariants_are_counted_where_drops_are_and_not_mentioned_where_all_is_well() -> None:
    service = msgspec.structs.replace(STATUS.services[0], violations={"ports-split": 1204, "spi-split": 0})
    engine = msgspec.structs.replace(STATUS, services=[service])
    said = "should never happen, but did at always-on-vpn: ports-split 1 204"
    assert said in drawn(status(engine, 80))
    assert "should never happen" not in drawn(status(STATUS, 80))
    facts = {fact.label: fact.value for fact in service_facts(service)}
    assert facts["violations"] == "1 204 ports-split"
    assert "violations" not in {fact.label for fact in service_facts(STATUS.services[0])}
