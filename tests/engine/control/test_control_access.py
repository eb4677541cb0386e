"""Who may change the engine: root, its own user and the control group, and nobody else."""

from __future__ import annotations

import os
import pwd
import socket
from types import SimpleNamespace

import pytest

from engine.control.access import Credentials, may_change, peer_credentials, user_name

GROUP = 7777


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        assert peer_credentials(ours) == Credentials(os.getpid(), os.getuid(), os.getgid())


@pytest.fixture
def _alice(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(uid: int) -> SimpleNamespace:
        if uid != 1000:
            raise KeyError(uid)
        return SimpleNamespace(pw_name="alice")

    monkeypatch.setattr(pwd, "getpwuid", find)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, GROUP] if name == "alice" else [gid])
    monkeypatch.setattr(os, "geteuid", lambda: 900)


@pytest.mark.usefixtures("_alice")
@pytest.mark.parametrize(
    ("uid", "gid", "group_id", "allowed"),
    [
        pytest.param(0, 0, None, True, id="root"),
        pytest.param(900, 900, None, True, id="the engine's own user"),
        pytest.param(1000, 1000, GROUP, True, id="a member of the control group"),
        pytest.param(1000, 1000, None, False, id="a member of no configured group"),
        pytest.param(1000, 1000, GROUP + 1, False, id="a member of another group"),
        pytest.param(1001, GROUP, GROUP, True, id="an account unknown here whose own group it is"),
        pytest.param(1001, 1001, GROUP, False, id="an account unknown here"),
    ],
)
def test_who_may_change(uid: int, gid: int, group_id: int | None, allowed: bool) -> None:
    assert may_change(Credentials(pid=1, uid=uid, gid=gid), group_id) is allowed


@pytest.mark.usefixtures("_alice")
def test_an_account_without_a_name_goes_by_its_number() -> None:
    assert (user_name(1000), user_name(1001)) == ("alice", "1001")
