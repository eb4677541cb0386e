"""Exporting writes every session once, whole or not at all, and says what is in the way."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import pytest
from many_sessions import ManySessions

from engine.control.calls import MAX_ROWS, ListSessions
from engine.control.records import SessionPage, SessionQuery
from ikeconsole.client import EngineUnreachable
from ikeconsole.export import ExportError, export, target

COLUMNS = [
    "session",
    "service",
    "server",
    "client",
    "phase",
    "age_s",
    "idle_s",
    "packets_in",
    "bytes_in",
    "packets_out",
    "bytes_out",
    "path",
    "why",
    "pinned",
    "spi_i",
    "spi_r",
    "vendor",
    "error",
]


class Asked:
    """Answers from an engine; after each page a test may change something."""

    def __init__(self, engine: ManySessions) -> None:
        self.engine = engine
        self.pages = 0

    async def __call__(self, call: ListSessions) -> SessionPage:
        assert call.query.limit <= MAX_ROWS
        page = await self.engine.sessions(call.query)
        self.pages += 1
        await self.between()
        return page

    async def between(self) -> None:
        """Nothing."""


def no_progress(written: int, of: int) -> None:
    """Nobody looks."""


@pytest.mark.asyncio
async def test_a_csv_file_has_every_session_with_units_in_the_column_names(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "all.csv"
    count = await export(Asked(ManySessions(2500)), SessionQuery(), path, lambda *told: seen.append(told))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert count == len(rows) == 2500
    assert list(rows[0]) == COLUMNS
    assert [int(row["session"]) for row in rows] == list(range(1, 2501))
    assert rows[1]["bytes_in"] == "2000"
    assert rows[1]["age_s"] == "2.0"
    assert seen == [(1000, 2500), (1800, 2500), (2500, 2500)]


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [0, 1, 1000, 1001])
async def test_a_json_file_is_one_list_whatever_its_length(tmp_path: Path, count: int) -> None:
    path = tmp_path / "all.json"
    assert await export(Asked(ManySessions(count)), SessionQuery(), path, no_progress) == count
    read = json.loads(path.read_text())
    assert [row["session"] for row in read] == list(range(1, count + 1))
    assert all(list(row) == COLUMNS and row["bytes_in"] == 1000 * row["session"] for row in read)


@pytest.mark.asyncio
async def test_filter_and_order_are_those_of_the_query(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    query = SessionQuery(filter="server:rras-1", sort="bytes_out", descending=True)
    await export(Asked(ManySessions(10)), query, path, no_progress)
    read = json.loads(path.read_text())
    assert {row["server"] for row in read} == {"rras-1"}
    assert [row["bytes_out"] for row in read] == sorted((row["bytes_out"] for row in read), reverse=True)
    assert len(read) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("ending", [1, 150, 700])
async def test_no_session_is_missed_or_doubled_when_others_end_meanwhile(tmp_path: Path, ending: int) -> None:
    engine = ManySessions(3000)

    class Ending(Asked):
        async def between(self) -> None:
            if self.pages <= 3:
                for number in list(engine.rows)[:ending]:
                    del engine.rows[number]

    path = tmp_path / "all.json"
    await export(Ending(engine), SessionQuery(), path, no_progress)
    written = [row["session"] for row in json.loads(path.read_text())]
    assert len(written) == len(set(written))
    assert set(written) >= set(engine.rows)


@pytest.mark.asyncio
async def test_a_lost_engine_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    class Lost(Asked):
        async def between(self) -> None:
            if self.pages == 2:
                raise EngineUnreachable("gone")

    path = tmp_path / "all.csv"
    path.write_text("before")
    with pytest.raises(EngineUnreachable):
        await export(Lost(ManySessions(5000)), SessionQuery(), path, no_progress)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.asyncio
async def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match=f"no space is left in {tmp_path}: free some"):
        await export(Asked(ManySessions(5)), SessionQuery(), tmp_path / "all.csv", no_progress)
    assert os.listdir(tmp_path) == []


@pytest.mark.asyncio
async def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    await export(Asked(ManySessions(1)), SessionQuery(), path, no_progress)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_tilde_is_the_home_and_a_link_leads_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(" ~/here.csv ") == tmp_path / "here.csv"
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert target("~/link.csv") == tmp_path / "real.csv"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "name a file"),
        ("sessions", "end the name in .csv or .json"),
        ("sessions.txt", "end the name in .csv or .json"),
        ("missing/sessions.csv", "there is no directory"),
        ("directory.csv", "is no ordinary file"),
        ("pipe.csv", "is no ordinary file"),
        ("~nobody-of-this-name/sessions.csv", "without ~"),
        ("nul\0.csv", "without ~"),
        (f"{'x' * 300}.csv", "too long"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ExportError, match=problem):
        target(name)
