"""The systemd unit and the files beside it, as systemd's own tools see them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "ikeconsole.service"
WORST_EXPOSURE = 1.7


def systemd(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of systemd's tools, run over files; skips where there is no systemd."""
    if not shutil.which(tool):
        reason = f"tests of the unit need {tool} (Debian package systemd)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [tool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
    )


def test_the_unit_has_no_mistakes(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # Whether its programs are there is this machine's affair.
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/ikeconsole", "/bin/true"))
    done = systemd("systemd-analyze", "verify", "--man=no", str(unit))
    assert [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line] == []


def test_the_units_exposure_is_small() -> None:
    """As docs/operations.md says."""
    threshold = f"--threshold={WORST_EXPOSURE * 10:.0f}"
    done = systemd("systemd-analyze", "security", "--offline=true", threshold, str(UNIT))
    assert "Overall exposure level for ikeconsole.service" in done.stdout
    assert done.returncode == 0, done.stdout


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = systemd("systemd-sysusers", f"--root={tmp_path}", str(PACKAGING / "ikeconsole.sysusers"))
    assert done.returncode == 0, done.stderr
    (entry,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("ikeconsole:")]
    assert entry.endswith(":/var/lib/ikeconsole:/usr/sbin/nologin")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_the_configuration_is_given_to_the_engine_and_its_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for file, entry in (("passwd", "ikeconsole:x:995:994::/:/bin/false\n"), ("group", "ikeconsole:x:994:\n")):
        (tmp_path / "etc" / file).write_text(f"root:x:0:0::/:/bin/sh\n{entry}" if file == "passwd" else entry)
    config = tmp_path / "etc/ikeconsole/config.toml"
    files = str(PACKAGING / "ikeconsole.tmpfiles")
    only = "--prefix=/etc"
    assert systemd("systemd-tmpfiles", f"--root={tmp_path}", only, "--create", files).returncode == 0
    assert (config.parent.stat().st_uid, config.parent.stat().st_gid) == (0, 994)
    config.touch(mode=0o600)
    assert systemd("systemd-tmpfiles", f"--root={tmp_path}", only, "--create", files).returncode == 0
    found = config.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (995, 994, 0o660)
