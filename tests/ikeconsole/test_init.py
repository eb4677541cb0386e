"""init: a first configuration from options, or from questions at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from pty_shell import Shell, shell

from engine.config.load import load
from engine.config.schema import Source
from ikeconsole.commands import init
from ikeconsole.exits import Exit, Failure
from ikeconsole.interview import interview
from ikeconsole.main import main

INIT = ["init", "--address", "203.0.113.10", "--server", "rras-1=10.0.0.11", "--server", "rras-2=10.0.0.12"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def terminal(config: Path) -> Iterator[Shell]:
    with shell("init", "--output", str(config), real=True) as opened:
        yield opened


def answer(terminal: Shell, question: str, line: str) -> None:
    terminal.until(question)
    terminal.output = b""
    terminal.type(f"{line}\n")


def test_options_give_a_configuration_that_checks(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "--name", 'a "b"', "--source", "snat", "--output", str(config)]) == Exit.BAD_CONFIG
    assert not config.exists()
    assert main([*INIT, "--source", "snat", "--output", str(config)]) == Exit.OK
    assert main(["check", "-c", str(config)]) == Exit.OK
    assert f"{config}: ok: 1 service, 2 real servers" in capsys.readouterr().out
    assert os.listdir(config.parent) == ["config.toml"]


def test_a_file_is_replaced_only_when_told_to(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("precious")
    assert main([*INIT, "-c", str(config)]) == Exit.FAILED
    assert "--force" in capsys.readouterr().err
    assert config.read_text() == "precious"
    assert main([*INIT, "-c", str(config), "--force"]) == Exit.OK
    assert "203.0.113.10" in config.read_text()


def test_a_file_that_cannot_be_written_is_told_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert main([*INIT, "--output", str(nowhere / "config.toml")]) == Exit.FAILED
    assert f"there is no directory {nowhere}: make it, or name another one" in capsys.readouterr().err


def test_without_a_terminal_nothing_is_asked(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("203.0.113.10\n"))
    assert main(["init", "--output", str(config)]) == Exit.USAGE
    assert "--address and at least one --server" in capsys.readouterr().err
    assert not config.exists()


def test_the_systems_file_is_written_where_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    assert main(INIT) == Exit.OK
    assert (tmp_path / "config.toml").exists()
    (tmp_path / "etc").mkdir()
    assert main(INIT) == Exit.OK
    assert (tmp_path / "etc" / "config.toml").exists()
    assert str(tmp_path / "etc" / "config.toml") in capsys.readouterr().out


def test_a_terminal_is_asked_until_the_answers_fit(terminal: Shell, config: Path) -> None:
    answer(terminal, "Address", "vpn.example.org")
    terminal.until("vpn.example.org is no address")
    answer(terminal, "Address", "127.0.0.10")
    answer(terminal, "Address of real server 1: ", "")
    answer(terminal, "Address of real server 1: ", "2001:db8::11")
    terminal.until("both must be alike")
    answer(terminal, "Address of real server 1: ", "127.0.0.10")
    terminal.until("the service's own address")
    answer(terminal, "Address of real server 1: ", "127.0.0.11")
    answer(terminal, "its name [vpn-1]: ", "rras-1")
    answer(terminal, "Address of real server 2: ", "127.0.0.11")
    terminal.until("127.0.0.11 is rras-1 already")
    answer(terminal, "Address of real server 2: ", "127.0.0.12")
    answer(terminal, "its name [vpn-2]: ", "rras-1")
    terminal.until("rras-1 is the name of 127.0.0.11 already")
    answer(terminal, "its name [vpn-2]: ", "")
    answer(terminal, "Address of real server 3: ", "")
    answer(terminal, "Source [transparent]: ", "nat")
    terminal.until("write transparent or snat")
    answer(terminal, "Source [transparent]: ", "s")
    assert not config.exists()
    answer(terminal, "Name [vpn]: ", "always-on-vpn")
    assert terminal.left() == Exit.OK
    (service,) = load(config).config.services
    assert (service.name, str(service.address), service.source) == ("always-on-vpn", "127.0.0.10", Source.SNAT)
    assert {server.name: str(server.address) for server in service.real_servers} == {
        "rras-1": "127.0.0.11",
        "vpn-2": "127.0.0.12",
    }


def test_an_address_that_is_not_there_yet_is_taken_with_a_word(terminal: Shell) -> None:
    answer(terminal, "Address", "203.0.113.10")
    terminal.until("`ip address add 203.0.113.10 dev INTERFACE`")


def test_a_terminal_that_ends_leaves_nothing(terminal: Shell, config: Path) -> None:
    terminal.until("Address")
    terminal.type("\x04")
    assert terminal.left() == Exit.FAILED
    assert b"nothing was written" in terminal.output
    assert os.listdir(config.parent) == []


def test_an_existing_file_is_told_before_the_first_question(config: Path) -> None:
    config.write_text("precious")
    with shell("init", "--output", str(config), real=True) as terminal:
        assert terminal.left() == Exit.FAILED
        assert b"--force" in terminal.output
        assert b"Address" not in terminal.output
    assert config.read_text() == "precious"


def test_what_the_command_line_said_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("\n"))
    assert interview("vpn", "127.0.0.10", [("a", "127.0.0.11")], None).source == "transparent"
    assert capsys.readouterr().err.count("]: ") == 1


@pytest.mark.parametrize("answered", range(4))
def test_questions_fit_a_terminal_and_need_an_answer(
    answered: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ["127.0.0.10", [("a", "127.0.0.11")], "snat", "vpn"]
    address, servers, source, name = known[:answered] + [None] * (4 - answered)
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(Failure, match="nothing was written"):
        interview(name, address, servers, source)
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 80
