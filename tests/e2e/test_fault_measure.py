"""What counts as a session that is lost, and how results get into the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.fault_table import BEGIN, END, Row, write
from harness.faults import Outcome, goes_on
from harness.peers import read_answers

from engine.control.records import SessionRow
from engine.control.status import Traffic

CLIENT, OTHER = "198.51.100.1:4500", "198.51.100.2:4500"


def row(server: str = "rs1", spi: str = "00000000000000aa", client: str = CLIENT) -> SessionRow:
    traffic = Traffic(packets_in=0, bytes_in=0, packets_out=0, bytes_out=0)
    return SessionRow(1, "vpn", server, client, "established", 1.0, 0.0, traffic, "slow", "", spi, "")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([row()], True),
        ([row(client=OTHER)], True),
        ([row(spi="")], True),
        ([row(), row(spi="00000000000000bb", client=OTHER)], True),
        ([], False),
        ([row(server="rs2")], False),
        ([row(), row()], False),
        ([row(), row(spi="")], False),
        ([row(spi="", client=OTHER)], False),
        ([row(spi="00000000000000bb")], False),
    ],
    ids=[
        "same",
        "roamed",
        "of the kernel",
        "others",
        "gone",
        "moved",
        "twice",
        "twice, nameless",
        "not its",
        "new",
    ],
)
def test_a_session_goes_on_when_it_is_there_once_and_where_it_was(after: list[SessionRow], expected: bool) -> None:
    assert goes_on(row(), after) is expected


def test_silence_is_the_longest_time_between_two_answers() -> None:
    said = "\n".join(
        f"[{at_s:.6f}] 64 bytes from 10.9.0.1: icmp_seq={number} ttl=63 time=0.5 ms"
        for number, at_s in ((1, 10.0), (2, 10.02), (4, 10.06), (5, 12.06))
    )
    result = read_answers("PING 10.9.0.1\n" + said)
    assert result.gaps == {3}
    assert result.silence_s == pytest.approx(2.0)


def test_the_page_keeps_its_prose(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"Before.\n\n{BEGIN}\nstale\n{END}\n\nAfter.\n")
    outcome = Outcome(sent=1234, lost=0, silence_s=0.021, sessions=2, sessions_lost=0)
    rows = [Row("engine", what, "fast path", outcome, told) for what, told in (("a", ""), ("b", "told: b"), ("a", "x"))]
    write(rows, page)
    text = page.read_text()
    assert text.startswith(f"Before.\n\n{BEGIN}")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "stale" not in text
    cells = "fast path | 1,234 | 0 | 0.02 | 2 | 0 |"
    assert f"| a | {cells}\n| a | {cells}\n| b | {cells}\n\nThe operator is told:\n\n* *a*: x\n* *b*: told: b\n" in text
