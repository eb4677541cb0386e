"""capture: what it prints and writes, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from captured_messages import CAPTURED, INIT
from scapy.layers.inet import IP, UDP
from scapy.utils import rdpcap
from served_engine import ServedEngine

from engine.control import server
from engine.control.access import Credentials
from engine.control.api import Refused
from engine.control.captured import Captured
from ikeconsole.exits import Exit
from ikeconsole.main import main

OVER = Captured(seen=12, ended="60 s are over: its limit")
SUMMARY = "7 messages, 5 lost; 60 s are over: its limit\n"


@pytest.fixture(autouse=True)
def _ends(engine: ServedEngine) -> None:
    engine.api.captured = [CAPTURED, OVER]


def capture(engine: ServedEngine, *arguments: str) -> int:
    return main(["capture", "198.51.100.7", *arguments, "--socket", str(engine.socket)])


def test_each_message_is_one_line_and_the_count_is_kept_apart(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(engine) == Exit.OK
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2:6] == [
        "12:04:31.234 ← 198.51.100.7:500 ike rras-1  IKE_SA_INIT answer 0 R 4f2a91c0/91b2c00d 208 bytes  "
        "SA(aes256gcm16-prfsha384-ecp384) KE(ecp384) NONCE(32 bytes)",
        "12:04:31.244 → 198.51.100.7:61022 nat-t rras-1  IKE_AUTH request 1 I 4f2a91c0/91b2c00d 140 bytes  "
        "SKF encrypted, fragment 2 of 5",
        "12:04:31.274 ← 198.51.100.7:500 ike rras-1  IKE_SA_INIT answer 0 R 4f2a91c0/91b2c00d 36 bytes  "
        "▲ 2 messages lost before  N(NO_PROPOSAL_CHOSEN: it accepts none of the algorithms offered: "
        "compare the IKE proposals of both sides)",
        "12:04:31.284 → 198.51.100.7:61022 nat-t rras-1  INFORMATIONAL answer 7 IR 4f2a91c0/91b2c00d 88 bytes  "
        "SK encrypted",
    ]
    assert "▲ dropped: no-server" in printed.out.splitlines()[0]
    assert printed.err == SUMMARY


def test_limits_reach_the_engine(engine: ServedEngine) -> None:
    assert capture(engine, "--seconds", "1.5", "--packets", "20") == Exit.OK
    assert engine.api.changes == [("capture", "198.51.100.7", 1.5, 20, "root")]


@pytest.mark.parametrize("limit", [("--seconds", "0"), ("--seconds", "x"), ("--packets", "0"), ("--packets", "1.5")])
def test_a_senseless_limit_is_a_usage_error(engine: ServedEngine, limit: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as left:
        capture(engine, *limit)
    assert left.value.code == Exit.USAGE


def test_json_is_one_document_a_line_with_the_bytes_in_it(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(engine, "--json") == Exit.OK
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["message"]["number"] for document in documents] == [1, 2, 3, 4, 7, 8, 9]
    assert documents[4]["lost_before"] == 2
    assert documents[2]["decoded"]["spi_r"] == "91b2c00d77aa0e51"
    assert documents[6]["decoded"]["exchange"] == "not IKE"


@pytest.mark.parametrize(
    ("side", "ends"),
    [("client", [("198.51.100.7", "203.0.113.10")] * 2), ("server", [("10.0.9.1", "10.0.0.11")])],
)
def test_a_file_is_written_beside_the_lines_for_its_owner_alone(
    engine: ServedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], side: str, ends: list[tuple[str, str]]
) -> None:
    path = tmp_path / "a.pcap"
    assert capture(engine, "-o", str(path), "--side", side) == Exit.OK
    assert len(capsys.readouterr().out.splitlines()) == 7
    asked = [packet for packet in rdpcap(str(path)) if bytes(packet[UDP].payload) == INIT]
    assert [(packet[IP].src, packet[IP].dst) for packet in asked] == ends
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_told_with_a_remedy(
    engine: ServedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert capture(engine, "-o", str(nowhere / "a.pcap")) == Exit.FAILED
    assert f"there is no directory {nowhere}: make it, or name another one" in capsys.readouterr().err
    assert engine.api.changes == []


def test_a_file_that_is_there_is_left_alone(
    engine: ServedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pcap"
    path.write_text("precious")
    assert capture(engine, "-o", str(path)) == Exit.FAILED
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert engine.api.changes == []


def test_standard_output_is_the_file_alone(engine: ServedEngine, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert capture(engine, "-o", "-") == Exit.OK
    printed = capfdbinary.readouterr()
    assert len(rdpcap(io.BytesIO(printed.out))) == 7
    assert printed.err.decode() == SUMMARY


@pytest.mark.parametrize("why", ["refused", "no right", "no engine"])
def test_a_capture_that_does_not_begin_leaves_no_file(
    engine: ServedEngine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    expected = {"refused": Exit.FAILED, "no right": Exit.NO_RIGHT, "no engine": Exit.UNREACHABLE}[why]
    match why:
        case "refused":
            engine.api.failure = Refused("failed", "4 captures run already")
        case "no right":
            nobody = Credentials(pid=1, uid=65534, gid=65534)
            monkeypatch.setattr(server, "peer_credentials", lambda _socket: nobody)
        case "no engine":
            engine.stop()
    assert capture(engine, "-o", str(tmp_path / "a.pcap")) == expected
    assert list(tmp_path.glob("*.pcap")) == []
    said = capsys.readouterr().err
    assert "lost" not in said
    if why == "no right":
        assert "may look but not capture" in said


def test_a_lost_engine_ends_it_with_what_was_captured(
    engine: ServedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine hangs up after the last piece without a word of why."""
    engine.api.captured = [CAPTURED]
    path = tmp_path / "a.pcap"
    command = _started(engine, "-o", str(path))
    assert command.stdout is not None
    for _ in range(7):
        assert command.stdout.readline()
    engine.stop()
    _, said = command.communicate(timeout=20)
    assert command.returncode == Exit.UNREACHABLE
    assert said.splitlines()[0] == "7 messages, 2 lost; cut short"
    assert len(rdpcap(str(path))) == 7


def test_an_interrupt_ends_it_cleanly(engine: ServedEngine) -> None:
    engine.api.captured = [CAPTURED]
    command = _started(engine)
    assert command.stdout is not None
    for _ in range(7):
        assert command.stdout.readline()
    command.send_signal(signal.SIGINT)
    rest, said = command.communicate(timeout=20)
    assert (command.returncode, rest, said) == (Exit.OK, "", "7 messages, 2 lost; interrupted\n")


def _started(engine: ServedEngine, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "ikeconsole", "capture", "198.51.100.7", *arguments, "--socket", str(engine.socket)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
