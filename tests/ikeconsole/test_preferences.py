"""Choices are remembered where that can be, and hold for the run where it cannot."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from ikeconsole.looks.preferences import Preferences, RememberedPreferences


def test_choices_last_to_the_next_run(tmp_path: Path) -> None:
    """In a file of one's own, readable by nobody else."""
    directory = tmp_path / "home" / "ikeconsole"
    first = RememberedPreferences(directory)
    assert first.chosen == Preferences(theme="night", refresh_s=1.0)
    assert first.choose(theme="day") is None
    assert first.choose(refresh_s=5.0) is None
    assert RememberedPreferences(directory).chosen == Preferences(theme="day", refresh_s=5.0)
    assert stat.S_IMODE((directory / "console.toml").stat().st_mode) == 0o600
    assert [path.name for path in directory.iterdir()] == ["console.toml"]


def test_the_place_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    RememberedPreferences().choose(theme="day")
    assert (tmp_path / ".config" / "ikeconsole" / "console.toml").read_text().startswith('theme = "day"')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    RememberedPreferences().choose(theme="day")
    assert (tmp_path / "elsewhere" / "ikeconsole" / "console.toml").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("theme = ", "console.toml: is not TOML: Invalid value: complete its last line"),
        ("theme = day\n", "console.toml:1:9: is not TOML: Invalid value: correct this line"),
        ('theme = "../x"', "console.toml:theme: '../x' is no name"),
        ("refresh_s = 0", "console.toml:refresh_s: must be a number >= 0.2"),
        ("refresh_s = nan", "console.toml:refresh_s: must be a number"),
        ("refresh = 1", "console.toml:refresh: is no key here: did you mean refresh_s?"),
        ("theme = '\xff'".encode("latin-1"), "console.toml: is not UTF-8"),
    ],
)
def test_a_damaged_file_is_named_and_the_defaults_hold(tmp_path: Path, content: str | bytes, said: str) -> None:
    """The next choice puts it right: the whole file is ours."""
    path = tmp_path / "console.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    remembered = RememberedPreferences(tmp_path)
    assert remembered.chosen == Preferences()
    assert said in str(remembered.problem)
    assert remembered.choose(theme="day") is None
    assert RememberedPreferences(tmp_path).problem is None


def test_where_nothing_can_be_written_the_choice_holds_for_the_run(tmp_path: Path) -> None:
    """That is said once, with what to do."""
    (tmp_path / "file").write_text("")
    remembered = RememberedPreferences(tmp_path / "file" / "ikeconsole")
    said = remembered.choose(theme="day")
    assert said is not None
    assert "was not written" in said
    assert said.endswith("Until then choices hold for this run only")
    assert remembered.choose(theme="contrast") is None
    assert remembered.chosen.theme == "contrast"


def test_a_user_without_a_home_can_choose_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    remembered = RememberedPreferences()
    assert "set XDG_CONFIG_HOME" in (remembered.choose(theme="day") or "")
    assert remembered.chosen.theme == "day"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act in another user's home")
def test_root_writes_nothing_into_another_users_home(tmp_path: Path) -> None:
    """A link placed there must not make root overwrite a file, nor a file of root's lock the user out."""
    home = tmp_path / "home"
    home.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (home / "console.toml").symlink_to(victim)
    os.chown(home, 65534, 65534)
    assert "in another user's home" in (RememberedPreferences(home).choose(theme="day") or "")
    assert victim.read_text() == "kept"


def test_a_value_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    remembered = RememberedPreferences(tmp_path)
    with pytest.raises(msgspec.ValidationError):
        remembered.choose(refresh_s=0.0)
    assert remembered.chosen == Preferences()
