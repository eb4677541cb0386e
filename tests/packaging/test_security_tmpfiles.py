"""What runs as root before the engine touches nothing that an engine which was taken over could point it at."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from test_unit import PACKAGING, UNIT, systemd

ENGINE_USER, ENGINE_GROUP = 995, 994


def create(root: Path) -> subprocess.CompletedProcess[str]:
    """What `ExecStartPre=` does, below another root."""
    files = str(PACKAGING / "ikeconsole.tmpfiles")
    return systemd("systemd-tmpfiles", f"--root={root}", "--prefix=/etc", "--create", files)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
@pytest.mark.parametrize("planted", ["symbolic", "hard"])
def test_a_link_to_somebody_elses_file_gives_nothing_away(tmp_path: Path, planted: str) -> None:
    etc, shadow = tmp_path / "etc", tmp_path / "etc/shadow"
    etc.mkdir()
    (etc / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nikeconsole:x:{ENGINE_USER}:{ENGINE_GROUP}::/:/bin/false\n")
    (etc / "group").write_text(f"ikeconsole:x:{ENGINE_GROUP}:\n")
    shadow.touch(mode=0o600)
    assert create(tmp_path).returncode == 0
    config = etc / "ikeconsole/config.toml"
    if planted == "symbolic":
        config.symlink_to("../shadow")
        os.lchown(config, ENGINE_USER, ENGINE_GROUP)
    else:
        os.link(shadow, config)
    create(tmp_path)
    found = shadow.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)


def test_the_engine_has_no_right_to_act_as_somebody_else() -> None:
    """None of the capabilities that amount to being root: to change owners, users or what may be read and written."""
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBounding"))
    assert set(lines["CapabilityBoundingSet"].split()) == {
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_BPF",
        "CAP_PERFMON",
    }
