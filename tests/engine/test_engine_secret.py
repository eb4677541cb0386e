"""The installation's secret: made once, kept to itself, done without where it cannot be kept."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from engine.secret import SECRET_BYTES, install_secret


def test_the_secret_is_made_once_and_stays_the_same(tmp_path: Path) -> None:
    made = install_secret(tmp_path / "deep" / "state")
    assert len(made) == SECRET_BYTES
    assert install_secret(tmp_path / "deep" / "state") == made


def test_every_installation_has_its_own_secret(tmp_path: Path) -> None:
    assert install_secret(tmp_path / "one") != install_secret(tmp_path / "other")


def test_nobody_else_may_read_the_secret(tmp_path: Path) -> None:
    install_secret(tmp_path)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", bytes(SECRET_BYTES + 1)])
def test_a_damaged_secret_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    made = install_secret(tmp_path)
    assert len(made) == SECRET_BYTES
    assert install_secret(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_secret_is_not_written_through_a_link_that_somebody_laid(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (tmp_path / "secret").symlink_to(elsewhere)
    install_secret(tmp_path)
    assert elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["state", "state/secret"])
def test_where_it_cannot_be_kept_a_secret_serves_for_one_run_and_the_log_says_so(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / place
    if place == "state":
        obstacle.write_text("a file stands where the directory should be")
    else:
        obstacle.mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        first = install_secret(tmp_path / "state")
    assert len(first) == SECRET_BYTES
    assert install_secret(tmp_path / "state") != first
    assert "hashes spread clients anew after each start" in caplog.records[0].message
