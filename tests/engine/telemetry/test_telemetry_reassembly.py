"""Fragments that are lost are read from the kernel as it writes them, and are an alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.telemetry import reassembly
from engine.telemetry.reassembly import parse_failures, reassembly_failures, reassembly_findings

SNMP = """\
Ip: Forwarding DefaultTTL ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs
Ip: 2 64 1 9 4 3 0
Udp: InDatagrams NoPorts InErrors
Udp: 100 20 0
"""
SNMP6 = """\
Ip6ReasmReqds                   	9
Ip6ReasmFails                   	2
Udp6NoPorts                     	5
"""


def test_both_address_families_count() -> None:
    assert (parse_failures(SNMP, SNMP6), parse_failures(SNMP, ""), parse_failures("", SNMP6)) == (5, 3, 2)
    assert parse_failures("", "") == 0


def test_this_kernel_has_the_counter_and_another_may_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "ReasmFails" in reassembly.SNMP.read_text()
    assert reassembly_failures() >= 0
    monkeypatch.setattr(reassembly, "SNMP", tmp_path / "nowhere")
    monkeypatch.setattr(reassembly, "SNMP6", tmp_path / "nowhere")
    assert reassembly_failures() == 0


def test_lost_fragments_are_an_alarm_and_none_are_not() -> None:
    assert list(reassembly_findings(0)) == []
    (found,) = reassembly_findings(3)
    assert found.text.startswith("3 datagrams came incomplete")
    assert "enable IKEv2 fragmentation" in found.remedy


def test_what_cannot_be_read_for_a_moment_is_not_taken_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else all that was ever lost would count as lost just now, once it can be read again."""
    monkeypatch.setattr(reassembly, "SNMP", tmp_path)
    with pytest.raises(OSError, match="Is a directory"):
        reassembly_failures()
