"""The command line: what each command asks and prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_engine import EVENTS, STATUS, FakeEngine
from served_engine import ServedEngine

from engine.control import server
from engine.control.access import Credentials
from engine.control.api import Refused
from ikeconsole import locate
from ikeconsole.exits import Exit
from ikeconsole.main import COMMANDS, main

GOOD = """
[[service]]
name = "vpn"
address = "203.0.113.10"
[[service.real_server]]
name = "rras-1"
address = "10.0.0.11"
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration and no engine of the machine is found."""
    monkeypatch.setenv("IKECONSOLE_CONFIG", str(tmp_path / "absent.toml"))
    monkeypatch.setattr(locate, "default_control_socket", lambda: tmp_path / "absent.sock")
    monkeypatch.setattr(locate, "SYSTEM_CONTROL_SOCKET", tmp_path / "absent-too.sock")


def ask(engine: ServedEngine, *arguments: str) -> int:
    return main([*arguments, "--socket", str(engine.socket)])


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["status"], "vpn-edge-1"),
        (["services"], "203.0.113.10"),
        (["servers"], "no answer to IKE probe, ping answers"),
        (["sessions"], "198.51.100.7:61022"),
        (["events"], "rras-2 set to drain by alice"),
        (["explain", "198.51.100.7"], "a new session would go to rras-1"),
        (["pins"], "198.51.100.40/32"),
        (["config", "show"], 'name = "always-on-vpn"'),
        (["config", "diff"], "+weight = 50"),
        (["config", "history"], "rras-2 state enabled -> drain"),
    ],
)
def test_a_looking_command_prints_what_it_asked_for(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], arguments: list[str], seen: str
) -> None:
    assert ask(engine, *arguments) == Exit.OK
    assert seen in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("services", ["always-on-vpn", "partners"]),
        ("servers", ["always-on-vpn/rras-1", "always-on-vpn/rras-2", "always-on-vpn/rras-3", "partners/sswan-1"]),
    ],
)
def test_names_alone_are_as_other_commands_take_them(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], command: str, names: list[str]
) -> None:
    assert ask(engine, command, "--names") == Exit.OK
    assert capsys.readouterr().out.splitlines() == names


def test_explain_says_so_when_no_service_would_serve_the_client(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "explain", lambda self, client: [])
    assert ask(engine, "explain", "::1") == Exit.OK
    assert capsys.readouterr().out == "No service would serve ::1: none has an IPv6 address.\n"


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["enable", "always-on-vpn/rras-2"], ("set_server", "always-on-vpn", "rras-2", "enabled", None)),
        (["drain", "always-on-vpn/rras-2"], ("set_server", "always-on-vpn", "rras-2", "drain", None)),
        (["disable", "always-on-vpn/rras-2"], ("set_server", "always-on-vpn", "rras-2", "disabled", None)),
        (["weight", "always-on-vpn/rras-2", "0"], ("set_server", "always-on-vpn", "rras-2", None, 0)),
        (["clear", "198.51.100.0/24"], ("clear", "198.51.100.0/24", None)),
        (["clear", "--session", "4711"], ("clear", "", 4711)),
        (["pin", "198.51.100.7", "rras-1"], ("pin", "198.51.100.7", "rras-1")),
        (["unpin", "198.51.100.7"], ("unpin", "198.51.100.7")),
        (["probe", "always-on-vpn/rras-1"], ("probe_now", "always-on-vpn", "rras-1")),
        (["move", "198.51.100.7", "rras-1"], ("move", "198.51.100.7", "rras-1")),
        (["reload"], ("reload",)),
        (["config", "undo"], ("undo",)),
    ],
)
def test_a_changing_command_reaches_the_engine_and_says_what_it_did(
    engine: ServedEngine,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    change: tuple[object, ...],
) -> None:
    assert ask(engine, *arguments) == Exit.OK
    assert engine.api.changes[0][: len(change)] == change
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("arguments", "find"),
    [
        (["status"], lambda record: record["services"][0]["servers"][2]["health_reason"]),
        (["services"], lambda record: record[0]["servers"][2]["health_reason"]),
        (["servers"], lambda record: record[2]["health_reason"]),
    ],
)
def test_json_prints_the_records(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], arguments: list[str], find: Any
) -> None:
    assert ask(engine, *arguments, "--json") == Exit.OK
    assert find(json.loads(capsys.readouterr().out)) == "no answer to IKE probe, ping answers"


def test_json_events_are_one_a_line(engine: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(engine, "events", "--json", "--limit", "2") == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [2, 3]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ("--severity notice", [1, 2]),
        ("--kind server-down", [1]),
        ("--server rras-2", [2]),
        ("--client 198.51.100.7", [3]),
        ("--kind server-down --server rras-2", []),
    ],
)
def test_events_can_be_picked(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], options: str, numbers: list[int]
) -> None:
    assert ask(engine, "events", "--json", *options.split()) == Exit.OK
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == numbers


def test_session_options_become_the_query(engine: ServedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    sessions = engine.api.sessions

    async def noted(query: Any) -> Any:
        asked.append(query)
        return await sessions(query)

    monkeypatch.setattr(engine.api, "sessions", noted)
    options = "--client 198.51.100.0/24 --server rras-2 --service always-on-vpn --spi 0xAB --phase auth "
    options += "--sort=-idle --limit 5 --offset 7 why:spi !pinned"
    assert ask(engine, "sessions", *options.split()) == Exit.OK
    query = asked[0]
    assert (query.client, query.server, query.service) == ("198.51.100.0/24", "rras-2", "always-on-vpn")
    assert (query.spi, query.phase, query.filter) == ("ab", "auth", "why:spi !pinned")
    assert (query.sort, query.descending, query.limit, query.offset) == ("idle", True, 5, 7)


@pytest.mark.parametrize(
    "arguments",
    [
        ["dance"],
        ["drain"],
        ["drain", "rras-2"],
        ["probe", "rras-2"],
        ["clear"],
        ["clear", "198.51.100.7", "--session", "4711"],
        ["pin", "198.51.100.7"],
        ["weight", "a/b", "-1"],
        ["weight", "a/b", "heavy"],
        ["config"],
        ["status", "--watch=0"],
        ["status", "--watch=nan"],
        ["sessions", "--sort", "beauty"],
        ["init", "--address", "vpn.example.org"],
        ["init", "--address", "203.0.113.10", "--server", "rras-1"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("arguments", "refusal", "code"),
    [
        (["drain", "a/b"], Refused("not-found", "there is no a/b"), Exit.FAILED),
        (["weight", "a/b", "5"], Refused("invalid", "too heavy"), Exit.FAILED),
        (["config", "undo"], Refused("conflict", "the file was edited"), Exit.FAILED),
        (["reload"], Refused("denied", "not you"), Exit.NO_RIGHT),
        (["reload"], Refused("invalid", "bad", ["config.toml:service.vpn.address: no"]), Exit.BAD_CONFIG),
        (["config", "undo"], Refused("invalid", "bad"), Exit.BAD_CONFIG),
        (["explain", "a"], ZeroDivisionError("inside"), Exit.FAILED),
    ],
)
def test_a_refusal_is_printed_with_its_details_and_its_exit_code(
    engine: ServedEngine,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    refusal: Exception,
    code: Exit,
) -> None:
    engine.api.failure = refusal
    assert ask(engine, *arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    if isinstance(refusal, Refused):
        assert all(line in printed.err for line in [refusal.message, *refusal.details])


def test_a_user_without_the_right_gets_exit_code_4(
    engine: ServedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "peer_credentials", lambda _socket: Credentials(1, 65534, 65534))
    assert ask(engine, "reload") == Exit.NO_RIGHT
    assert "sudo" in capsys.readouterr().err


def test_no_engine_is_exit_code_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", str(tmp_path / "none.sock")]) == Exit.UNREACHABLE
    assert "ikeconsole engine" in capsys.readouterr().err


def test_without_a_command_it_shows_the_running_engine(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(engine) == Exit.OK
    assert "vpn-edge-1" in capsys.readouterr().out


def test_without_a_command_and_an_engine_it_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == Exit.OK
    out = capsys.readouterr().out
    assert "ikeconsole demo" in out
    assert "ikeconsole engine" in out


def test_the_socket_is_found_in_the_configuration_even_an_invalid_one(engine: ServedEngine, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[engine]\ncontrol_socket = "{engine.socket}"\nnonsense = 1\n')
    assert main(["-c", str(config), "status"]) == Exit.OK
    assert main(["status", "-c", str(config)]) == Exit.OK


def test_a_system_engine_is_found_by_a_user_without_one(engine: ServedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "SYSTEM_CONTROL_SOCKET", engine.socket)
    assert main(["status"]) == Exit.OK


def test_a_named_configuration_that_is_absent_is_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "-c", str(tmp_path / "none.toml")]) == Exit.BAD_CONFIG
    assert "none.toml: does not exist: name a file with -c" in capsys.readouterr().err


def test_check_counts_what_a_good_file_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(GOOD)
    assert main(["check", "-c", str(config)]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[-1] == f"{config}: ok: 1 service, 1 real server"


def test_check_prints_every_problem_with_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(GOOD.replace("203.0.113.10", "nowhere").replace("10.0.0.11", "neither"))
    assert main(["check", "-c", str(config)]) == Exit.BAD_CONFIG
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{config}:service.vpn.") for line in lines)


def test_engine_and_demo_end_with_the_code_of_what_stopped_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.config.load import load

    class StartError(Exception):
        pass

    def run(path: Path) -> int:
        load(path)
        raise StartError("cannot bind 203.0.113.10:500: run as root")

    runtime, demo = ModuleType("engine.runtime"), ModuleType("ikeconsole.demo")
    runtime.__dict__.update(run=run, StartError=StartError)
    demo.__dict__.update(run=lambda: 0)
    monkeypatch.setitem(sys.modules, "engine.runtime", runtime)
    monkeypatch.setattr("engine.runtime", runtime, raising=False)
    monkeypatch.setitem(sys.modules, "ikeconsole.demo", demo)
    monkeypatch.setattr("ikeconsole.demo", demo, raising=False)
    config = tmp_path / "config.toml"
    assert main(["demo"]) == Exit.OK
    assert main(["engine", "-c", str(config)]) == Exit.BAD_CONFIG
    assert str(config) in capsys.readouterr().err
    config.write_text(GOOD)
    assert main(["engine", "-c", str(config)]) == Exit.NO_RIGHT
    assert "run as root" in capsys.readouterr().err


def test_watching_keeps_the_last_answer_and_says_when_the_engine_is_lost(
    engine: ServedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            engine.stop()
        elif len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("ikeconsole.commands.watching.time.sleep", nap)
    assert ask(engine, "servers", "--watch=7") == Exit.OK
    first, second = capsys.readouterr().out.split("▲ no engine answers")
    assert naps == [7.0, 7.0]
    assert "rras-3" in first
    assert "what follows is 0s old" in second
    assert "rras-3" in second


def test_following_prints_new_events_until_the_engine_ends(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed = threading.Event()
    monkeypatch.setattr("ikeconsole.commands.events.print_json", lambda event, one_line: seen(event.number))
    numbers: list[int] = []

    def seen(number: int) -> None:
        numbers.append(number)
        if number == EVENTS[-1].number:
            subscribed.set()

    stopping = threading.Thread(target=lambda: subscribed.wait(10) and engine.stop())
    stopping.start()
    assert ask(engine, "events", "--follow", "--json") == Exit.UNREACHABLE
    stopping.join()
    assert numbers == [event.number for event in EVENTS]
    assert "closed the connection" in capsys.readouterr().err


def test_help_names_every_command_without_loading_any(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(command.name in out for command in COMMANDS)
    code = "import sys\nfrom ikeconsole.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(any(m in sys.modules for m in ('trio', 'rich', 'msgspec', 'netaddr')))"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}])
def test_output_in_a_pipe_is_plain_whatever_the_encoding(engine: ServedEngine, environment: dict[str, str]) -> None:
    code = "from ikeconsole.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "status", "--socket", str(engine.socket)],
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
    )
    assert b"\x1b" not in done.stdout
    assert STATUS.host.encode() in done.stdout
    assert done.stderr == b""


def test_a_reader_that_stops_early_is_no_failure(engine: ServedEngine) -> None:
    code = "from ikeconsole.main import run; run()"
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-c", code, "status", "--socket", str(engine.socket)],
        cwd=Path(__file__).parents[2],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (Exit.OK, b"")
