"""The engine with the rights that its systemd unit gives it, and no others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from configparser import ConfigParser, SectionProxy
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.fast_path import await_fast, check_fast, start
from harness.lab import Lab
from harness.namespaces import run
from harness.peers import Profile
from harness.plan import Family

pytestmark = pytest.mark.e2e

PACKAGING = Path(__file__).parents[2] / "packaging"
UID, GID = 995, 994
PLACE_OF_PINS = "/sys/fs/bpf/ikeconsole"
SEE_PINS = f"""\
mount --bind "$0" /sys/fs/bpf
mount --bind {PLACE_OF_PINS} {PLACE_OF_PINS}
mount -o remount,bind,ro /sys/fs/bpf
exec "$@"
"""
"""What systemd does for ProtectKernelTunables= and ReadWritePaths=, over a BPF file system of the test's own."""


def unit() -> SectionProxy:
    """What the unit says of its service; of keys that come twice, the latter."""
    read = ConfigParser(strict=False, interpolation=None)
    read.read(PACKAGING / "ikeconsole.service")
    return read["Service"]


def rights(*also: str) -> list[str]:
    """A command that starts another as the unit says; being root alone means nothing then."""
    given = unit()["AmbientCapabilities"]
    assert given == unit()["CapabilityBoundingSet"]
    names = [name.removeprefix("CAP_").lower() for name in given.split()]
    only = ",".join(["-all", *(f"+{name}" for name in (*names, *also))])
    kinds = ("inh-caps", "ambient-caps", "bounding-set")
    return ["setpriv", "--securebits", "+noroot", "--no-new-privs", *(f"--{kind}={only}" for kind in kinds)]


@contextmanager
def place_of_pins(root: Path) -> Iterator[Path]:
    """A BPF file system as a boot and the unit's ExecStartPre= leave it: what is there is the unit's user's."""
    where = root / "sys/fs/bpf"
    where.mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nikeconsole:x:{UID}:{GID}::/:/bin/false\n")
    (root / "etc/group").write_text(f"root:x:0:\nikeconsole:x:{GID}:\n")
    run(["mount", "-t", "bpf", "-o", "mode=700", "bpf", str(where)])
    try:
        files = str(PACKAGING / "ikeconsole.tmpfiles")
        run(["systemd-tmpfiles", f"--root={root}", "--prefix=/sys", "--create", files])
        yield where
    finally:
        run(["umount", str(where)])


@contextmanager
def given_to_units_user(directory: Path) -> Iterator[None]:
    """A directory, with all that is in it, as StateDirectory= gives it; root's again afterwards."""

    def give(uid: int, gid: int) -> None:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, uid, gid)

    give(UID, GID)
    try:
        yield
    finally:
        give(0, 0)


def as_units_user(bpf: Path) -> list[str]:
    """A command that starts another as the unit's user, who besides may read this tree wherever it is."""
    user = [f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]
    setpriv, *options = rights("dac_read_search")
    return ["sh", "-ec", SEE_PINS, str(bpf), setpriv, *user, *options]


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    fast_lab.balancer.close()
    fast_lab.tidy()


@pytest.mark.parametrize("source", ["transparent", "snat"])
def test_the_units_capabilities_are_enough(fast_lab: Lab, source: str) -> None:
    """For either source and for the fast path, in both address families."""
    status = start(fast_lab, source, under=rights())
    assert (status.fast_path, status.fast_path_reason) == ("native", "")
    clients = dict(zip(Family, (fast_lab.clients["c1"], fast_lab.clients["c2"]), strict=True))
    for family, client in clients.items():
        client.connect(fast_lab.vip[family], Profile.CERT)
    check_fast(fast_lab, *clients.values())
    assert fast_lab.balancer.stop() == 0


@pytest.mark.parametrize(
    ("lacking", "said"), [("net_bind_service", "give CAP_NET_BIND_SERVICE"), ("net_admin", "give CAP_NET_ADMIN")]
)
def test_what_cannot_do_without_one_says_so(fast_lab: Lab, lacking: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        start(fast_lab, "transparent", under=[word.replace(f"+{lacking}", f"-{lacking}") for word in rights()])


def test_the_fast_path_of_the_units_user_outlives_the_engine(fast_lab: Lab, tmp_path: Path) -> None:
    """It pins below a directory of its own in a file system of root's, and finds it all again."""
    assert f"-{PLACE_OF_PINS}" in unit()["ReadWritePaths"].split()
    balancer = fast_lab.balancer
    balancer.forget_state()
    with place_of_pins(tmp_path) as bpf, given_to_units_user(balancer.state_dir.parent):
        assert bpf.stat().st_mode & 0o777 == 0o711, "others may enter what is theirs, and list nothing"
        under = as_units_user(bpf)
        start(fast_lab, "transparent", under=under)
        client = fast_lab.clients["c1"]
        client.connect(fast_lab.vip[Family.IPV4])
        await_fast(fast_lab, client)
        ping = client.start_ping()
        try:
            for stop in (signal.SIGKILL, signal.SIGTERM):
                ping.await_answers(25)
                balancer.stop(stop)
                ping.await_answers(50)
                status = start(fast_lab, "transparent", under=under)
                assert (status.fast_path, status.kernel.flows) == ("native", 1)
            ping.await_answers(25)
            assert not ping.finish().gaps
        finally:
            ping.abandon()
            balancer.close()
