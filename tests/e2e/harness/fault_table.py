"""The table of docs/faults.md: what each fault cost, as the tests found it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness.faults import Outcome

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"
BEGIN, END = "<!-- the table: written by make faults -->", "<!-- end of the table -->"
HEAD = """\
| what happens | where | packets sent | lost | longest silence, s | sessions | lost |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault in one setting."""

    area: str
    """What it befalls: engine, servers, network…"""
    fault: str
    where: str
    outcome: Outcome
    told: str


class Report(Protocol):
    """Takes down what a fault cost, for the table."""

    def __call__(self, fault: str, where: str, outcome: Outcome, *, told: str = "") -> None:
        """`told`: the event or alarm by which the operator learns of it, in its own words; empty where nobody need."""


def write(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Put the rows in the place of those that are on the page; the prose stays."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    conditions = "\n".join(f"* {name}: {value}" for name, value in _conditions().items())
    areas = "\n\n".join(_section(area, rows) for area in dict.fromkeys(row.area for row in rows))
    page.write_text(f"{before}{BEGIN}\n\n{conditions}\n\n{areas}\n\n{END}{after}")


def _section(area: str, rows: Sequence[Row]) -> str:
    """The table of an area, and below it what an operator is told."""
    ours = [row for row in rows if row.area == area]
    faults = list(dict.fromkeys(row.fault for row in ours))
    table = "\n".join([HEAD, *map(_line, sorted(ours, key=lambda row: faults.index(row.fault)))])
    told = {row.fault: row.told for row in reversed(ours) if row.told}
    words = "\n".join(f"* *{fault}*: {told[fault]}" for fault in faults if fault in told)
    return "\n\n".join(filter(None, [f"### {area.capitalize()}", table, words and f"The operator is told:\n\n{words}"]))


def _line(row: Row) -> str:
    outcome = row.outcome
    cells = (
        row.fault,
        row.where,
        f"{outcome.sent:,}",
        f"{outcome.lost:,}",
        f"{outcome.silence_s:.2f}",
        str(outcome.sessions),
        str(outcome.sessions_lost),
    )
    return f"| {' | '.join(cells)} |"


def _conditions() -> dict[str, str]:
    ask = ["dpkg-query", "--show", "--showformat", "${Version}", "charon-systemd"]
    strongswan = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, which clients, balancer and servers share",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "strongSwan": strongswan,
    }
