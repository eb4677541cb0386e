"""advise on the command line: sentences of at most 80 columns, and commands that can be copied as they stand."""

from __future__ import annotations

import json

import pytest
from served_engine import ServedEngine

from engine.control.api import Refused
from ikeconsole.commands.advise import WIDTH
from ikeconsole.exits import Exit
from ikeconsole.main import main


def ask(engine: ServedEngine, *arguments: str) -> int:
    return main(["advise", *arguments, "--socket", str(engine.socket)])


def test_what_to_do_comes_first_with_its_reason_and_commands(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(engine) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "▲ do  always-on-vpn/rras-1",
        "  Make this balancer, 10.0.0.1, the default gateway of rras-1.",
        "  why    12 clients asked rras-1 again and again and got no answer, while probes",
        "         are answered: its answers to clients go another way.",
    ]
    assert lines[-1] == "3 to do, 3 to consider, 2 well"
    assert max(map(len, lines)) <= WIDTH
    assert "    New-NetRoute @route" in lines
    assert not [line for line in lines if line != line.rstrip()]


def test_one_service_or_real_server_is_chosen_by_name(engine: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(engine, "partners") == Exit.OK
    out = capsys.readouterr().out
    assert "partners/sswan-1" in out
    assert "always-on-vpn" not in out
    assert ask(engine, "always-on-vpn/rras-2") == Exit.OK
    assert "rras-1" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "shown", "left_out"),
    [
        ("powershell", {"powershell", "toml"}, {"swanctl", "shell"}),
        ("swanctl", {"swanctl", "toml"}, {"powershell"}),
        ("all", {"powershell", "swanctl", "toml"}, set()),
    ],
)
def test_commands_are_shown_for_the_kind_of_server_one_has(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], choice: str, shown: set[str], left_out: set[str]
) -> None:
    assert ask(engine, "--json", "--snippets", choice) == Exit.OK
    advices = json.loads(capsys.readouterr().out)
    found = {snippet["language"] for advice in advices for snippet in advice["snippets"]}
    assert shown <= found
    assert not found & left_out


def test_a_name_that_is_not_there_is_said(engine: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.api.failure = Refused("not-found", "there is no service 'x'; services: partners")
    assert ask(engine, "x") == Exit.FAILED
    assert capsys.readouterr().err == "ikeconsole: there is no service 'x'; services: partners\n"


def test_nothing_to_advise_is_said_too(engine: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(engine, "nowhere") == Exit.OK
    assert capsys.readouterr().out == "nothing to advise\n"
