"""doctor on the command line: lines for people at 80 columns, records for programs, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from served_engine import ServedEngine

from engine.doctor.diagnosis import Diagnosis, Topic
from ikeconsole.commands.doctor import WIDTH
from ikeconsole.exits import Exit
from ikeconsole.main import main
from ikeconsole.render.doctor import report, tally

TOPIC = Topic("network", "rp-filter")
WELL = TOPIC.ok("off", "eth0")
ILL = TOPIC.fail(
    "strict, while packets to clients leave by eth0: what clients send comes in here and is dropped before the engine "
    "sees it (error 809)",
    "eth1",
    remedy="let it be loose",
    command="sysctl -w net.ipv4.conf.eth1.rp_filter=2 # " + 60 * "x",
)

NO_SERVICE = '[engine]\ncontrol_socket = "{directory}/control.sock"\nstate_dir = "{directory}"\n'
DEAD_SERVER = """
[[service]]
name = "vpn"
address = "127.0.0.1"
ike_port = 15511
nat_t_port = 14511
source = "snat"
[[service.real_server]]
name = "gone"
address = "127.0.0.99"
"""


def configured(directory: Path, more: str = "") -> str:
    path = directory / "config.toml"
    path.write_text(NO_SERVICE.format(directory=directory) + more)
    return str(path)


def test_each_thing_has_glyph_word_and_what_mends_it() -> None:
    assert report([WELL, ILL], WIDTH).plain.splitlines() == [
        "network",
        "  ● ok    rp-filter eth0: off",
        "  ✕ fail  rp-filter eth1: strict, while packets to clients leave by eth0: what",
        "          clients send comes in here and is dropped before the engine sees it",
        "          (error 809)",
        "          → let it be loose",
        f"          # {ILL.command}",
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([WELL], "1 ok: all is well"),
        ([WELL, TOPIC.unchecked("it")], "1 warn, 1 ok: it works, and could do better"),
        ([ILL, WELL, WELL], "1 fail, 2 ok: clients are hurt by what fails"),
    ],
)
def test_the_last_line_sums_up(said: list[Diagnosis], words: str) -> None:
    assert tally(said) == words


def test_where_nothing_fails_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-c", configured(tmp_path)]) == Exit.OK
    out = capsys.readouterr().out
    assert "  ● ok    running: no engine runs" in out
    assert "0 fail" not in out


def test_a_dead_real_server_makes_it_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, DEAD_SERVER)
    assert main(["doctor", "-c", path, "--problems"]) == Exit.FAILED
    out = capsys.readouterr().out
    assert "✕ fail  ike-probe vpn/gone: 127.0.0.99 port 15511: connection refused" in out
    assert "● ok" not in out
    assert out.splitlines()[-1].startswith("1 fail, ")


def test_programs_get_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-c", configured(tmp_path, DEAD_SERVER), "--json"]) == Exit.FAILED
    rows = json.loads(capsys.readouterr().out)
    assert {"group", "check", "subject", "state", "text", "remedy", "command"} == set(rows[0])
    (failed,) = [row for row in rows if row["state"] == "fail"]
    assert (failed["group"], failed["check"], failed["subject"]) == ("real servers", "ike-probe", "vpn/gone")


def test_a_bad_configuration_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-c", configured(tmp_path, "[[service]]\nname = 1\n")]) == Exit.BAD_CONFIG
    assert "service" in capsys.readouterr().err


def test_an_engine_that_runs_is_asked(engine: ServedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path)
    assert main(["doctor", "-c", path, "--socket", str(engine.socket), "--json"]) == Exit.OK
    running = json.loads(capsys.readouterr().out)[0]
    assert running["check"] == "running"
    assert running["command"].startswith("ikeconsole doctor -c ")


def test_a_client_must_be_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--client", "laptop"])
    assert ended.value.code == Exit.USAGE
    assert "is not an IPv4 or IPv6 address" in capsys.readouterr().err
