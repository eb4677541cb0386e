"""The socket file: its owner and mode, what happens when something is there already, and that it goes away."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from pathlib import Path

import pytest
import trio
from fake_engine import FakeEngine

from engine.control.endpoint import ControlSocketError, bound, find_group
from engine.control.server import serve


def test_the_socket_and_its_new_directory_keep_others_out(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "control.sock"
    with bound(path, None):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
        assert os.listdir(path.parent) == ["control.sock"]
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to a group it is not in")
def test_the_control_group_owns_the_socket_and_its_new_directory(tmp_path: Path) -> None:
    group = grp.getgrgid(65534)
    path = tmp_path / "run" / "control.sock"
    with bound(path, find_group(group.gr_name)):
        assert path.lstat().st_gid == group.gr_gid
        assert path.parent.stat().st_gid == group.gr_gid


def test_an_unknown_control_group_is_named_with_what_to_do() -> None:
    with pytest.raises(ControlSocketError, match="groupadd no-such-group"):
        find_group("no-such-group")


def test_a_directory_closed_to_the_control_group_is_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o700)
    with bound(tmp_path / "control.sock", os.getegid()):
        assert f"cannot enter {tmp_path}" in caplog.text


def test_a_second_engine_is_refused_and_the_first_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bound(path, None) as first:
        with pytest.raises(ControlSocketError, match=rf"another engine \(pid {os.getpid()}\)"), bound(path, None):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            first.accept()[0].close()


def test_the_socket_of_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with bound(path, None), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(ControlSocketError, match="is not a socket"), bound(path, None):
        pass
    assert path.read_text() == "precious"


def test_a_stopping_engine_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as successor:
        with bound(path, None):
            path.unlink()
            successor.bind(str(path))
        assert path.is_socket()


def test_a_path_too_long_for_a_socket_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(ControlSocketError, match="to another path"),
        bound(tmp_path / ("d" * 150) / "s", None),
    ):
        pass


@pytest.mark.trio
async def test_the_socket_is_removed_when_the_server_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, FakeEngine(), path)
        client = await trio.open_unix_socket(path)
        nursery.cancel_scope.cancel()
    assert not path.exists()
    async with client:
        assert await client.receive_some() == b""


def test_a_control_group_that_the_engine_is_not_in_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ordinary user meets it: the message has both ways out, and nothing is left behind."""

    def refused(path: Path, user_id: int, group_id: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refused)
    with pytest.raises(ControlSocketError) as caught, bound(tmp_path / "control.sock", 65534):
        pass
    group, user = grp.getgrgid(65534).gr_name, pwd.getpwuid(os.geteuid()).pw_name
    assert str(caught.value) == (
        f"engine.control_group: the user {user}, whom the engine runs as, is not in group '{group}' and so cannot "
        f"give it the control socket: under systemd put SupplementaryGroups={group} below [Service] with "
        f"`systemctl edit ikeconsole`; else add the user (usermod -aG {group} {user}) and start the engine anew"
    )
    assert os.listdir(tmp_path) == []
