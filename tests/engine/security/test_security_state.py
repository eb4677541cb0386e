"""Files that the engine keeps: nobody else reads them, and what somebody else put in their place is not believed."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from bpf_objects import require_bpf
from running_engine import world

from engine.config.history import History
from engine.fastpath.errors import BpfError
from engine.fastpath.pins import BPF_FILE_SYSTEM, Pins
from engine.logs import EntryFormatter, JournalFormatter, LogFile
from engine.own_file import open_own
from engine.secret import SECRET_BYTES, install_secret
from engine.survival.journal import first_line, frame, read_journal
from engine.survival.moment import Moment
from engine.survival.records import Record, kept_record, kept_session
from tests.engine.sessions.session_world import NAT_T, at, esp
from tests.engine.survival.survival_world import SavedWorld

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

ODD: dict[type, list[Any]] = {
    int: [0, -1, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1, 65_536],
    float: [0.0, -1.0, 1e308, -1e308, float("inf"), float("-inf"), float("nan")],
    str: ["", "\x1b[2J", "a" * 10_000, "::1", "fe80::1%x", "255.255.255.255"],
}


class Forger:
    """Somebody who knows the format, and can work out a checksum."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)

    def forged(self, value: Any) -> Any:
        draw = self._draw
        if isinstance(value, list):
            changed = [self.forged(one) for one in value]
            return changed * draw.choice((0, 2, 30)) if changed and draw.random() < 0.03 else changed
        if isinstance(value, bool):
            return value is (draw.random() > 0.1)
        if draw.random() < 0.06 and type(value) in ODD:
            return draw.choice(ODD[type(value)])
        return value

    def record(self, record: Any) -> Any:
        """A record of the same kind with other content; None where the format itself forbids it."""
        kind, *content = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
        forged = msgspec.msgpack.encode([kind, *self.forged(content)])
        try:
            return msgspec.msgpack.decode(forged, type=Record)
        except msgspec.MsgspecError:
            return None


@pytest.mark.trio
@pytest.mark.parametrize("seed", range(10))
async def test_a_forged_journal_costs_sessions_and_not_the_start(tmp_path: Path, seed: int) -> None:
    """An engine that fails to start on a file would fail on it for ever."""
    forger = Forger(seed)
    world = SavedWorld(tmp_path)
    for number in range(1, 6):
        world.connect(f"198.51.100.{number}", number)
        world.client_sends(at(f"198.51.100.{number}", 4500), NAT_T, esp(0x1000 + number))
        world.server_sends(at(f"198.51.100.{number}", 4500), NAT_T, esp(0x2000 + number))
    records: list[Any] = [kept_session(session) for session in world.sessions()]
    records += [kept_record(world.service, record) for record in world.service.persistence]
    for _ in range(30):
        moment = forger.record(Moment.now(trio.current_time())) or Moment.now(trio.current_time())
        forged = [changed for record in records if (changed := forger.record(record)) is not None]
        world.journal.write_bytes(first_line() + frame(moment, forged))
        again = SavedWorld(tmp_path)
        await again.take_over()
        again.table.expire(trio.current_time(), 1_000)
        await again.saving.save()
        again.connect("203.0.113.99", 0xABCDEF)
        await again.saving.save()
        assert again.saving.failure == ""


@pytest.mark.trio
async def test_nobody_else_reads_what_the_engine_keeps(tmp_path: Path) -> None:
    """Whatever the umask: who is connected from where, and the key that spreads clients, are nobody's business."""
    before = os.umask(0o002)
    try:
        async with world(tmp_path) as w:
            await w.engine.operations.set_server("vpn", "a", state="drain", weight=None, author="tester")
    finally:
        os.umask(before)
    state = tmp_path / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*")}
    assert modes["secret"] == modes["sessions.journal"] == modes["engine.lock"] == modes["000001.json"] == 0o600
    assert modes["history"] == 0o700
    assert not stat.S_IMODE(state.stat().st_mode) & stat.S_IRWXO


@only_root
def test_what_another_user_put_there_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a directory that others may write in, against all advice."""
    tmp_path.chmod(0o1777)
    planted = tmp_path / "secret"
    planted.write_bytes(bytes(SECRET_BYTES))
    os.chown(planted, NOBODY, NOBODY)
    assert install_secret(tmp_path) != bytes(SECRET_BYTES)
    assert "another user put it there" in caplog.text
    journal = tmp_path / "sessions.journal"
    journal.write_bytes(first_line())
    os.chown(journal, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="another user put it there"):
        read_journal(journal)


@only_root
def test_files_of_the_engines_own_user_are_believed_when_root_runs_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(SECRET_BYTES))
    for path in (tmp_path, tmp_path / "secret"):
        os.chown(path, NOBODY, NOBODY)
    assert install_secret(tmp_path) == bytes(SECRET_BYTES)


@pytest.mark.parametrize("kind", ["link", "pipe", "writable by all", "directory"])
def test_what_is_no_file_of_its_own_is_not_read(tmp_path: Path, kind: str) -> None:
    """Nor waited for."""
    path = tmp_path / "sessions.journal"
    match kind:
        case "link":
            (tmp_path / "elsewhere").write_bytes(first_line())
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            path.write_bytes(first_line())
            path.chmod(0o666)
    with pytest.raises(OSError, match=r"Too many levels|ordinary file|every user"), open_own(path):
        pass


@pytest.mark.trio
@pytest.mark.parametrize("planted", ["link", "file"])
async def test_what_lies_where_a_new_journal_is_begun_is_not_written_to(tmp_path: Path, planted: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    state = tmp_path / "state"
    state.mkdir()
    begun = state / ".sessions.journal.new"
    if planted == "link":
        begun.symlink_to(precious)
    else:
        os.link(precious, begun)
    saved = SavedWorld(state)
    saved.connect("198.51.100.1", 1)
    await saved.saving.save()
    assert precious.read_text() == "precious"
    assert saved.saving.failure == ""
    assert len(read_journal(saved.journal).sessions) == 1


def test_a_revision_that_another_user_wrote_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.record("text", "root", "first", 0.0)
    history.record("other text", "root", "second", 1.0)
    (tmp_path / "history" / "000002.json").chmod(0o666)
    assert [revision.number for revision in history.list(10)] == [1]
    assert "every user may write it" in history.notes[0]


@pytest.mark.parametrize("kind", [EntryFormatter, JournalFormatter])
def test_one_entry_of_the_log_cannot_look_like_two(kind: type[logging.Formatter]) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\n2026-01-01 ERROR forged\x1b[2J\x9b1m\r\x08", (), None)
    lines = kind("%(message)s").format(record).split("\n")
    assert len(lines) == 2
    assert lines[1].startswith("\t2026")
    assert all(line.removeprefix("\t").isprintable() for line in lines)


def test_the_log_file_is_for_its_owner_and_no_link(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        log_file = LogFile(tmp_path / "engine.log")
    finally:
        os.umask(before)
    log_file.close()
    assert stat.S_IMODE((tmp_path / "engine.log").stat().st_mode) == 0o600
    (tmp_path / "link.log").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        LogFile(tmp_path / "link.log")
    assert not (tmp_path / "precious").exists()


@pytest.fixture
def pins_root() -> Any:
    """A directory in the BPF file system, as if it were that file system."""
    require_bpf()
    if not BPF_FILE_SYSTEM.is_mount():
        pytest.skip("no BPF file system is mounted")
    root = BPF_FILE_SYSTEM / f"security-{os.getpid()}"
    root.mkdir(mode=0o755)
    yield root
    for directory in sorted(root.rglob("*"), reverse=True):
        directory.rmdir()
    root.rmdir()


@only_root
def test_nobody_else_has_a_hand_in_what_is_pinned(pins_root: Path) -> None:
    pins = Pins("vpn", pins_root / "ikeconsole")
    pins.begin()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (pins.directory.parent, pins.directory)} == {0o700}
    assert pins.exist
    pins.directory.parent.chmod(0o777)
    assert not pins.exist
    with pytest.raises(BpfError, match="may be written by other users"):
        pins.begin()


@only_root
def test_pins_below_what_another_user_made_are_not_used(pins_root: Path) -> None:
    """Where everybody may make directories, as in a BPF file system that was mounted without a mode."""
    pins = Pins("vpn", pins_root / "ikeconsole")
    pins.begin()
    os.chown(pins.directory.parent, NOBODY, NOBODY)
    assert pins.exist, "root gave it to the engine's user"
    pins_root.chmod(0o1777)
    assert not pins.exist
    with pytest.raises(BpfError, match="was made by another user"):
        pins.begin()
